"""Drift: the line of least squares and its error, by scipy on any frames and cosines."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress

from stdrc_core.faces.drift import measure_drift

cosines = st.none() | st.floats(-1, 1, width=32)
clips = st.lists(st.tuples(st.integers(0, 400), cosines), min_size=0, max_size=40)


@given(clips)
def test_slope_and_error_are_scipys(clip: list[tuple[int, float | None]]):
    known = {frame: cosine for frame, cosine in clip if cosine is not None}
    drift = measure_drift([frame for frame, _ in clip], [cosine for _, cosine in clip])
    if len(known) < 2:
        assert drift is None
        return
    theirs = linregress([*known], [*known.values()])
    assert drift.slope == pytest.approx(100 * theirs.slope, abs=1e-6)
    assert drift.at(250) == pytest.approx(theirs.intercept + 250 * theirs.slope, abs=1e-6)
    if len(known) == 2:
        assert drift.error is None
    else:
        # Of cosines that are all alike scipy gives none.
        expected = 0 if math.isnan(theirs.stderr) else 100 * theirs.stderr
        assert drift.error == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_the_error_is_that_of_numpys_covariance():
    x = np.arange(0, 241, 16)
    y = np.cos(x / 30) * 0.1 + 0.6 - x * 0.0004
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    drift = measure_drift(x.tolist(), y.tolist())
    assert drift.slope == pytest.approx(100 * slope, abs=1e-9)
    assert drift.error == pytest.approx(100 * math.sqrt(covariance[0, 0]), abs=1e-9)
    assert str(drift).startswith("-0.0") and " ± 0.0" in str(drift)


def test_a_frame_that_comes_twice_counts_once():
    assert measure_drift([0, 0, 3, 9, 9], [0.5, 0.5, 0.4, 0.6, 0.6]) == measure_drift(
        [0, 3, 9], [0.5, 0.4, 0.6]
    )
