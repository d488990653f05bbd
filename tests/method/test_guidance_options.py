"""Guidance over a run: rescale, windows and kept directions, against sums written out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers.pipelines.ltx2.pipeline_ltx2 import rescale_noise_cfg
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.generate.pipeline import Shot
from stdrc_core.method.guidance import GuidanceScales, rescale
from stdrc_core.method.guidance_curve import CurveShape, GuidanceCurve
from stdrc_core.method.guidance_options import EXACT, PRESETS, GuidanceOptions, with_preset
from stdrc_core.method.guided_run import KeptDirection, step_of
from stdrc_core.method.sampling import percent_to_sigma, sample, sigma_schedule

SHAPE = (2, 3, 2, 4, 4)
scales = st.one_of(st.sampled_from((0.0, 1.0, 3.0, 5.0, 7.5)), st.floats(-5, 20))


class Streams:
    """Velocities that are not linear in the latent, and a list of which ran at which sigma."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.pushes = {
            name: torch.randn(SHAPE, generator=generator, dtype=torch.float64)
            for name in ("empty", "text", "both")
        }
        self.calls: list[tuple[float, str]] = []

    def __call__(self, latent: Tensor, t: Tensor, context: Tensor, reference: Tensor | None):
        name = "both" if reference is not None else ("text" if context.any() else "empty")
        self.calls.append((float(t[0]), name))
        return self.velocity(name, latent, t[0])

    def velocity(self, name: str, latent: Tensor, sigma: Tensor) -> Tensor:
        return torch.tanh(latent * self.pushes[name]) + sigma * self.pushes[name]

    def count(self, name: str) -> int:
        return sum(called == name for _, called in self.calls)


def noise() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def percent_of(sigma: float) -> float:
    """The part of sampling whose sigma this is: sigmoid(2.37 + logit(1 - percent)) inverted."""
    return 1 / (1 + math.exp(math.log(sigma / (1 - sigma)) - 2.37))


def run(streams: Streams, guidance: GuidanceOptions, num_steps: int = 6) -> Tensor:
    return sample(
        streams,
        noise(),
        sigma_schedule(num_steps),
        text=torch.ones(2, 5, 6),
        empty=torch.zeros(2, 5, 6),
        reference=torch.zeros(2, 3, 1, 4, 4),
        guidance=guidance,
    )


def by_hand(streams: Streams, s_y, s_r, *, k: int = 1, phi: float = 0.0, num_steps: int = 6):
    """Euler steps with all streams and the equations as they stand; s_y and s_r of sigma."""
    latent, direction = noise(), None
    sigmas = sigma_schedule(num_steps)
    for i in range(num_steps):
        sigma = sigmas[i].double()
        v0, vy, vyr = (streams.velocity(n, latent, sigma) for n in ("empty", "text", "both"))
        if i % k == 0:
            direction = vyr - vy
        v = v0 + s_y(float(sigma)) * (vy - v0) + s_r(float(sigma)) * direction
        clean, positive = latent - sigma * v, latent - sigma * (vy + direction)
        clean = rescale_noise_cfg(clean, positive, phi)
        latent = latent + (sigmas[i + 1].double() - sigma) * (latent - clean) / sigma
    return latent


@settings(deadline=None, max_examples=40)
@given(s_y=scales, s_r=scales, k=st.integers(1, 8), phi=st.sampled_from((0.0, 0.3, 1.0)))
def test_a_run_is_the_sum_written_out(s_y: float, s_r: float, k: int, phi: float):
    # Where vy drops out, the step is exact whatever k is; without vyr, the positive is another.
    k = 1 if abs(s_y - s_r) < 1e-9 else k
    phi = 0.0 if abs(s_r) < 1e-9 else phi
    guidance = GuidanceOptions(
        text_scale=s_y, reference_scale=s_r, reference_every=k, guidance_rescale=phi
    )
    got = run(Streams(), guidance)
    expected = by_hand(Streams(), lambda _: s_y, lambda _: s_r, k=k, phi=phi)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(start=scales, end=scales, shape=st.sampled_from(CurveShape), of_text=st.booleans())
def test_a_run_along_curves_is_the_sum_written_out(start, end, shape: CurveShape, of_text: bool):
    curve = GuidanceCurve(start=start, end=end, shape=shape, start_sigma=0.9, end_sigma=0.2)
    text, reference = (curve, 7.5) if of_text else (5.0, curve)
    got = run(Streams(), GuidanceOptions(text_scale=text, reference_scale=reference))
    s_y, s_r = (
        scale.at if scale is curve else (lambda _, c=scale: c) for scale in (text, reference)
    )
    torch.testing.assert_close(got, by_hand(Streams(), s_y, s_r), rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(s_y=scales, s_r=scales, shape=st.sampled_from(CurveShape), k=st.integers(1, 4))
def test_constant_curves_equal_constants_bit_for_bit(s_y: float, s_r: float, shape, k: int):
    curves = {
        "text_scale": GuidanceCurve(start=s_y, end=s_y, shape=shape),
        "reference_scale": GuidanceCurve(start=s_r, end=s_r, shape=shape),
    }
    got = run(Streams(), GuidanceOptions(**curves, reference_every=k))
    assert torch.equal(
        got, run(Streams(), GuidanceOptions(text_scale=s_y, reference_scale=s_r, reference_every=k))
    )


@pytest.mark.parametrize("k", [1, 2, 3, 6, 9])
def test_the_reference_runs_every_kth_step(k: int):
    streams = Streams()
    run(streams, GuidanceOptions(reference_every=k), num_steps=8)
    sigmas = sigma_schedule(8).double().tolist()
    at = [sigma for sigma, name in streams.calls if name == "both"]
    assert at == pytest.approx([sigmas[i] for i in range(0, 8, k)])
    assert (streams.count("text"), streams.count("empty")) == (8, 8)


def test_steps_are_counted_from_the_windows_own_first():
    """Steps 0 to 2 and 6 to 7 are outside: text and reference together, vyr in each of them."""
    sigmas = sigma_schedule(8)
    streams = Streams()
    # Between the sigmas of steps 2 and 3, and of steps 5 and 6.
    edges = [float(sigmas[i] + sigmas[i + 1]) / 2 for i in (2, 5)]
    start, end = (percent_of(edge) for edge in edges)
    options = GuidanceOptions(reference_every=2, start_percent=start, end_percent=end)
    run(streams, options, num_steps=8)
    at = [sigma for sigma, name in streams.calls if name == "both"]
    assert at == pytest.approx([float(sigmas[i]) for i in (0, 1, 2, 3, 5, 6, 7)])
    assert streams.count("text") == 3


def test_where_a_curve_ends_at_1_its_stream_rests():
    streams = Streams()
    text = GuidanceCurve(start=5, end=1, end_sigma=0.5)
    run(streams, GuidanceOptions(text_scale=text), num_steps=10)
    assert streams.count("empty") == int((sigma_schedule(10) > 0.5).sum())
    assert streams.count("text") == streams.count("both") == 10


@settings(deadline=None, max_examples=40)
@given(s_y=scales, s_r=scales, share=st.floats(0, 1), num_steps=st.integers(1, 9))
def test_after_the_guided_share_the_richest_stream_runs_alone(s_y, s_r, share, num_steps: int):
    """As curves that fall to 1 between two steps; a stream that no scale asks for stays out."""
    guided = [i for i in range(num_steps) if i < share * num_steps]
    sigmas = sigma_schedule(num_steps).double()
    falls_at = float(sigmas[len(guided)] + sigmas[len(guided) - 1]) / 2 if guided else 9.0
    s_y, s_r = (0.0 if abs(scale) < 1e-9 else scale for scale in (s_y, s_r))
    text_end, reference_end = float(bool(s_y or s_r)), float(bool(s_r))

    def falling(start: float, end: float):
        return lambda sigma: start if sigma > falls_at else end

    streams = Streams()
    got = run(
        streams,
        GuidanceOptions(text_scale=s_y, reference_scale=s_r, guided_share=share),
        num_steps=num_steps,
    )
    expected = by_hand(
        Streams(), falling(s_y, text_end), falling(s_r, reference_end), num_steps=num_steps
    )
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    after = [name for sigma, name in streams.calls if sigma < falls_at]
    alone = "both" if s_r else ("text" if s_y else "empty")
    assert after == [alone] * (num_steps - len(guided))


def test_each_run_starts_afresh():
    guidance = GuidanceOptions(reference_every=3)
    streams = Streams()
    first = run(streams, guidance)
    calls, streams.calls = streams.calls, []
    assert torch.equal(run(streams, guidance), first)
    assert streams.calls == calls


@settings(deadline=None, max_examples=100)
@given(
    sigmas=st.lists(st.floats(0.01, 1), min_size=1, max_size=9, unique=True),
    sigma=st.floats(0.001, 2),
)
def test_an_evaluation_belongs_to_the_stretch_that_holds_its_sigma(sigmas, sigma: float):
    falling = [*sorted(sigmas, reverse=True), 0.0]
    near = any(math.isclose(sigma, each, rel_tol=2e-4) for each in falling)
    expected = sum(each >= sigma for each in falling) - 1
    got = step_of(sigma, torch.tensor(falling, dtype=torch.float64))
    assert got == expected or near
    for i, each in enumerate(falling[:-1]):
        if not any(math.isclose(each, other, rel_tol=1e-3) for other in falling if other != each):
            assert step_of(each * (1 + 1e-6), torch.tensor(falling)) == i
            assert step_of(each * (1 - 1e-6), torch.tensor(falling)) == i


@given(k=st.integers(1, 5), num_evaluations=st.integers(1, 3))
def test_a_step_computes_the_direction_in_all_of_its_evaluations_or_in_none(k, num_evaluations):
    sigmas = torch.linspace(1, 0, 11)
    kept, computed = KeptDirection(k), []
    for high, low in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        for j in range(num_evaluations):
            sigma = high + (low - high) * j / num_evaluations
            if kept.at(sigma, sigmas) is None:
                kept.keep(torch.tensor(sigma), sigma, sigmas)
                computed.append(sigma)
    steps = [step_of(sigma, sigmas) for sigma in computed]
    assert steps == [i for i in range(0, 10, k) for _ in range(num_evaluations)]


def test_where_sigma_rises_again_the_direction_is_computed():
    sigmas = torch.linspace(1, 0, 11)
    kept = KeptDirection(4)
    kept.keep(torch.zeros(()), 0.5, sigmas)
    assert kept.at(0.4, sigmas) is not None
    assert kept.at(0.6, sigmas) is None
    assert kept.at(0.5, sigmas) is None
    assert kept.at(0.1, sigmas) is None


# Of two numbers per sample, which may be nearly alike, the deviation is lost in float32.
shapes = st.lists(st.integers(2, 5), min_size=3, max_size=5).map(tuple)


@settings(deadline=None, max_examples=60)
@given(shape=shapes, phi=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_rescale_is_that_of_diffusers_and_at_1_has_the_positives_deviation(shape, phi, seed):
    generator = torch.Generator().manual_seed(seed)
    guided, positive = torch.randn(2, *shape, generator=generator, dtype=torch.float64).unbind()
    guided, axes = 5 * guided + 1, tuple(range(1, len(shape)))
    expected = rescale_noise_cfg(guided, positive, phi)
    torch.testing.assert_close(rescale(guided, positive, phi), expected, rtol=1e-5, atol=1e-5)
    at_1 = rescale(guided, positive, 1.0)
    torch.testing.assert_close(at_1.std(axes), positive.std(axes), rtol=1e-5, atol=1e-5)
    assert rescale(guided, positive, 0.0) is guided


def test_rescale_of_a_flat_estimate_stays_finite():
    flat = torch.full((1, 4), 3.0)
    assert torch.isfinite(rescale(flat, torch.randn(1, 4), 1.0)).all()


def test_the_positive_stream_is_the_one_that_sees_the_most():
    names = {
        scales: GuidanceScales(text=scales[0], reference=scales[1]).positive
        for scales in [(5, 7.5), (5, 5), (5, 0), (1, 1), (0, 0)]
    }
    assert list(names.values()) == ["reference", "reference", "text", "reference", "empty"]


def test_the_exact_preset_is_the_default_and_presets_are_fields_of_a_shot():
    plain = Shot(num_frames=9, height=64, width=64)
    for name, preset in PRESETS.items():
        assert (plain.guided(**preset) == plain) is (name == "exact")
    assert plain.guidance == EXACT


def test_a_preset_fills_what_was_left_at_its_default():
    left = {"reference_every": 1, "guided_share": 1.0, "text_scale": 2.0}
    assert with_preset("fast", left) == {**PRESETS["fast"], "text_scale": 2.0}
    assert with_preset("fast", left | {"reference_every": 7})["reference_every"] == 7
    assert with_preset("exact", left) == left


def test_the_window_is_in_parts_of_sampling_as_comfyui_counts_them():
    percents = torch.linspace(0, 1, 11).tolist()
    falling = [percent_to_sigma(percent) for percent in percents]
    assert (falling[0], falling[-1]) == (1, 0)
    assert falling == sorted(falling, reverse=True)
    # sigmoid(2.37 + logit(1 - percent))
    assert percent_to_sigma(0.5) == pytest.approx(1 / (1 + math.exp(-2.37)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("guidance_rescale", -0.1),
        ("guidance_rescale", 1.5),
        ("guidance_rescale", math.nan),
        ("reference_every", 0),
        ("guided_share", 1.1),
        ("guided_share", math.nan),
        ("text_scale", math.nan),
        ("reference_scale", math.inf),
        ("audio_scale", math.nan),
    ],
)
def test_a_number_out_of_its_range_is_refused_by_name_and_value(field: str, value: float):
    with pytest.raises(ValueError, match=rf"{field}.* was {value}; .*needs"):
        GuidanceOptions(**{field: value})


@pytest.mark.parametrize(("start", "end"), [(0.6, 0.4), (-0.1, 1), (0, 1.1), (math.nan, 1)])
def test_a_window_that_is_none_is_refused(start: float, end: float):
    with pytest.raises(ValueError, match=rf"^start_percent was {start} and end_percent {end}; "):
        GuidanceOptions(start_percent=start, end_percent=end)
