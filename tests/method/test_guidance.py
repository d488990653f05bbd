"""Eq. 13 and the plan of its streams, against the equation itself in float64."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.method.guidance import GuidanceScales, guide

# Sliders move in steps: round values and equal pairs are what users set.
finite_scales = st.one_of(
    st.sampled_from((0.0, 1.0, 3.0, 5.0, 7.5)),
    st.floats(-20, 100),
)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple)
seeds = st.integers(0, 2**32 - 1)


def predictions(shape: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    v0, vy, vyr = torch.randn(3, *shape, dtype=torch.float64, generator=generator).unbind()
    return v0, vy, vyr


def equation_13(s_y: float, s_r: float, v0: Tensor, vy: Tensor, vyr: Tensor) -> Tensor:
    return v0 + s_y * (vy - v0) + s_r * (vyr - vy)


def assert_close(actual: Tensor, expected: Tensor, s_y: float, s_r: float) -> None:
    # Rounding grows with the scales; dropping a weight below 1e-9 is allowed.
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-8 * (1 + abs(s_y) + abs(s_r)))


@settings(deadline=None, max_examples=150)
@given(s_y=finite_scales, s_r=finite_scales, shape=shapes, seed=seeds)
def test_guide_is_equation_13_for_any_scales_and_shapes(
    s_y: float, s_r: float, shape: tuple[int, ...], seed: int
):
    v0, vy, vyr = predictions(shape, seed)
    guided = guide(GuidanceScales(text=s_y, reference=s_r), empty=v0, text=vy, reference=vyr)
    assert_close(guided, equation_13(s_y, s_r, v0, vy, vyr), s_y, s_r)


@settings(deadline=None, max_examples=150)
@given(s_y=finite_scales, s_r=finite_scales, seed=seeds)
def test_streams_that_do_not_run_may_be_none(s_y: float, s_r: float, seed: int):
    scales = GuidanceScales(text=s_y, reference=s_r)
    v0, vy, vyr = predictions((2, 3), seed)
    guided = guide(
        scales,
        empty=v0 if scales.runs_empty else None,
        text=vy if scales.runs_text else None,
        reference=vyr if scales.runs_reference else None,
    )
    assert_close(guided, equation_13(s_y, s_r, v0, vy, vyr), s_y, s_r)


@settings(deadline=None, max_examples=150)
@given(tenths_y=st.integers(-5, 80), tenths_r=st.integers(-5, 80))
def test_a_stream_runs_exactly_when_its_weight_is_not_zero(tenths_y: int, tenths_r: int):
    s_y, s_r = Fraction(tenths_y, 10), Fraction(tenths_r, 10)
    scales = GuidanceScales(text=tenths_y * 0.1, reference=tenths_r / 10)
    runs = (scales.runs_empty, scales.runs_text, scales.runs_reference)
    assert runs == (s_y != 1, s_y != s_r, s_r != 0)


@pytest.mark.parametrize(
    ("s_y", "s_r", "empty", "text", "reference"),
    [
        (5.0, 7.5, True, True, True),
        (7.5, 7.5, True, False, True),
        (1.0, 7.5, False, True, True),
        (5.0, 0.0, True, True, False),
        (1.0, 1.0, False, False, True),
        (1.0, 0.0, False, True, False),
        (0.0, 0.0, True, False, False),
        (0.0, 7.5, True, True, True),
        (-1.0, 2.0, True, True, True),
        (0.1 + 0.2, 0.3, True, False, True),
        (0.7 + 0.2 + 0.1, 3.0, False, True, True),
        (5.0, 0.3 - (0.1 + 0.2), True, True, False),
    ],
)
def test_plan_of_streams(s_y: float, s_r: float, empty: bool, text: bool, reference: bool):
    scales = GuidanceScales(text=s_y, reference=s_r)
    assert (scales.runs_empty, scales.runs_text, scales.runs_reference) == (empty, text, reference)


def test_scales_that_differ_by_a_hundredth_of_a_slider_step_still_run_the_text_stream():
    assert GuidanceScales(text=5.0, reference=5.001).runs_text


def test_the_papers_scales_are_the_default():
    v0, vy, vyr = predictions((4,), 0)
    guided = guide(GuidanceScales(), empty=v0, text=vy, reference=vyr)
    torch.testing.assert_close(guided, -4 * v0 - 2.5 * vy + 7.5 * vyr)


@settings(deadline=None, max_examples=100)
@given(s_y=finite_scales, s_r=finite_scales)
def test_the_weights_add_up_to_1(s_y: float, s_r: float):
    weights = GuidanceScales(text=s_y, reference=s_r).weights
    assert math.fsum(weights) == pytest.approx(1, abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(s_y=finite_scales, s_r=finite_scales, seed=seeds)
def test_the_weights_are_the_coefficients_of_equation_13(s_y: float, s_r: float, seed: int):
    """Each weight is the answer to a unit prediction in its stream alone."""
    one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    expected = [
        equation_13(s_y, s_r, one, zero, zero),
        equation_13(s_y, s_r, zero, one, zero),
        equation_13(s_y, s_r, zero, zero, one),
    ]
    weights = GuidanceScales(text=s_y, reference=s_r).weights
    assert weights == pytest.approx([float(weight) for weight in expected], abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(s_y=finite_scales, s_r=finite_scales, t=st.floats(0, 1), seed=seeds)
def test_guiding_clean_estimates_is_guiding_velocities(s_y: float, s_r: float, t: float, seed: int):
    """x0 = x - t v is linear and the weights add up to 1: the two orders agree."""
    scales = GuidanceScales(text=s_y, reference=s_r)
    velocities = predictions((2, 3), seed)
    x = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    of_velocities = guide(scales, **_streams(*velocities))
    of_estimates = guide(scales, **_streams(*(x - t * v for v in velocities)))
    assert_close(of_estimates, x - t * of_velocities, s_y, s_r)


@settings(deadline=None, max_examples=50)
@given(s_y=finite_scales, s_r=finite_scales, seed=seeds)
def test_three_equal_predictions_stay_what_they_are(s_y: float, s_r: float, seed: int):
    v, _, _ = predictions((3,), seed)
    guided = guide(GuidanceScales(text=s_y, reference=s_r), **_streams(v, v, v))
    assert_close(guided, v, s_y, s_r)


@settings(deadline=None, max_examples=50)
@given(s_y=finite_scales, s_r=finite_scales, seed=seeds)
def test_guided_together_is_plain_guidance_towards_text_and_reference(
    s_y: float, s_r: float, seed: int
):
    scales = GuidanceScales(text=s_y, reference=s_r).guided_together()
    v0, _, vyr = predictions((2, 2), seed)
    assert not scales.runs_text
    guided = guide(scales, empty=v0, text=None, reference=vyr)
    assert_close(guided, (1 - s_y) * v0 + s_y * vyr, s_y, s_y)


@pytest.mark.parametrize(
    ("s_y", "s_r", "cond"),
    [(5.0, 7.5, "text"), (5.0, 0.0, "text"), (5.0, 5.0, "reference"), (1.0, 7.5, "text")],
)
def test_a_hosts_own_text_step_is_taken_once_with_the_text_scale(s_y: float, s_r: float, cond: str):
    """The host's step may do anything (here: it rescales); the reference step goes on top of it."""
    streams = _streams(*predictions((3,), 1))
    calls = []

    def rescaled(cond: Tensor, uncond: Tensor | None, scales: GuidanceScales) -> Tensor:
        calls.append((cond, uncond, scales.text))
        return 0.5 * (uncond + scales.text * (cond - uncond))

    guided = guide(GuidanceScales(text=s_y, reference=s_r), **streams, cfg=rescaled)
    assert len(calls) == 1
    assert calls[0][0] is streams[cond]
    assert calls[0][1] is streams["empty"]
    assert calls[0][2] == s_y
    step = 0.5 * ((1 - s_y) * streams["empty"] + s_y * streams[cond])
    push = s_r * (streams["reference"] - streams["text"]) if cond == "text" else 0
    torch.testing.assert_close(guided, step + push)


@pytest.mark.parametrize(
    ("missing", "error"), [("empty", AssertionError), ("text", TypeError), ("reference", TypeError)]
)
def test_a_stream_that_is_needed_may_not_be_left_out(missing: str, error: type[Exception]):
    with pytest.raises(error):
        guide(GuidanceScales(), **{**_streams(*predictions((3,), 1)), missing: None})


def test_guide_keeps_dtype_and_leaves_the_predictions_unchanged():
    streams = {name: v.bfloat16() for name, v in _streams(*predictions((2, 3), 5)).items()}
    before = {name: v.clone() for name, v in streams.items()}
    guided = guide(GuidanceScales(), **streams)
    assert guided.dtype == torch.bfloat16
    assert guided.shape == (2, 3)
    assert all(torch.equal(streams[name], before[name]) for name in streams)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["text", "reference"])
def test_a_scale_that_is_not_finite_is_refused_by_name_and_value(field: str, value: float):
    with pytest.raises(ValueError, match=rf"^{field}_scale was {value}; .*finite"):
        GuidanceScales(**{field: value})


def _streams(v0: Tensor, vy: Tensor, vyr: Tensor) -> dict[str, Tensor]:
    return {"empty": v0, "text": vy, "reference": vyr}
