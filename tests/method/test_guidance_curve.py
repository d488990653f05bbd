"""Scales over sigma: against the equation in exact fractions, and by properties."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stdrc_core.method.guidance_curve import CurveShape, GuidanceCurve, read_scale, scale_at

values = st.floats(-20, 100)
sigmas = st.floats(0, 1)
shapes = st.sampled_from(CurveShape)


@given(value=values, sigma=sigmas, shape=shapes)
def test_a_constant_curve_is_the_constant(value: float, sigma: float, shape: CurveShape):
    assert scale_at(GuidanceCurve(start=value, end=value, shape=shape), sigma) == value
    assert scale_at(value, sigma) == value


@given(start=values, end=values, shape=shapes, beyond=st.floats(0, 1))
def test_ends_are_exact_and_clamp(start: float, end: float, shape: CurveShape, beyond: float):
    curve = GuidanceCurve(start=start, end=end, shape=shape, start_sigma=0.8, end_sigma=0.3)
    assert curve.at(0.8 + beyond) == start
    assert curve.at(0.3 - 0.3 * beyond) == end


@given(start=st.integers(-9, 9), end=st.integers(-9, 9), sigma=st.integers(2, 8))
@pytest.mark.parametrize(
    ("shape", "w"),
    [
        (CurveShape.LINEAR, lambda p: p),
        (CurveShape.LATE, lambda p: p * p),
        (CurveShape.EARLY, lambda p: p * (2 - p)),
    ],
)
def test_between_the_ends_it_is_the_equation(shape: CurveShape, w, start, end, sigma: int):
    p = Fraction(8 - sigma, 6)
    expected = float((1 - w(p)) * start + w(p) * end)
    curve = GuidanceCurve(start=start, end=end, shape=shape, start_sigma=0.8, end_sigma=0.2)
    assert curve.at(sigma / 10) == pytest.approx(expected, abs=1e-9)


def test_the_cosine_is_half_a_wave():
    curve = GuidanceCurve(start=0, end=1, shape=CurveShape.COSINE)
    quarter = (1 - math.sqrt(0.5)) / 2
    got = [curve.at(sigma) for sigma in (1, 0.75, 0.5, 0.25, 0)]
    assert got == pytest.approx([0, quarter, 0.5, 1 - quarter, 1])


@given(start=values, end=values, shape=shapes, a=sigmas, b=sigmas)
def test_every_shape_is_monotonic_and_stays_between_its_ends(
    start: float, end: float, shape: CurveShape, a: float, b: float
):
    curve = GuidanceCurve(start=start, end=end, shape=shape)
    at_high, at_low = curve.at(max(a, b)), curve.at(min(a, b))
    assert min(start, end) - 1e-9 <= at_high <= max(start, end) + 1e-9
    assert (at_low - at_high) * (end - start) >= -1e-9


@given(start=values, end=values, shape=shapes, sigma=sigmas, factor=st.floats(0, 4))
def test_a_multiple_of_a_curve_is_that_of_its_values(start, end, shape, sigma, factor: float):
    curve = GuidanceCurve(start=start, end=end, shape=shape)
    assert (curve * factor).at(sigma) == pytest.approx(factor * curve.at(sigma), abs=1e-9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7.5", 7.5),
        (3, 3.0),
        ("5:1", GuidanceCurve(start=5, end=1)),
        ("5:1:cosine", GuidanceCurve(start=5, end=1, shape=CurveShape.COSINE)),
        (
            "5:1:late:0.9:0.25",
            GuidanceCurve(start=5, end=1, shape=CurveShape.LATE, start_sigma=0.9, end_sigma=0.25),
        ),
    ],
)
def test_a_scale_in_words(text: str | float, expected: float | GuidanceCurve):
    assert read_scale(text) == expected


@pytest.mark.parametrize(
    "text", ["", "much", "5:", "5:1:square", "5:1:late:0.9", "5:1:late:0.2:0.9", "nan:1", "5:1:2:3"]
)
def test_a_scale_that_is_none_is_refused_with_an_example(text: str):
    with pytest.raises(ValueError, match=rf"^guidance scale was '{text}' .*5:1:cosine"):
        read_scale(text)


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.2, 0.8), (1, -0.1), (math.inf, 0)])
def test_sigmas_have_to_fall(start: float, end: float):
    with pytest.raises(ValueError, match=r"^start_sigma was .*needs start_sigma above"):
        GuidanceCurve(start=1, end=2, start_sigma=start, end_sigma=end)
