"""Means over persons and trainings, on matrices whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stdrc_core.experiments.tables import cell, matrix, over_persons, summary_of

NAN = math.nan


def test_a_persons_mean_is_of_the_seeds_that_have_it():
    values = np.array([[0.2, NAN, NAN], [0.4, 0.6, NAN]])
    assert over_persons(values) == pytest.approx([0.3, 0.6, NAN], nan_ok=True)


def test_a_summary_has_its_error_over_persons_and_its_spread_over_trainings():
    found = summary_of(np.array([[0.1, 0.3], [0.5, 0.7]]))
    # Persons 0.3 and 0.5; trainings 0.2 and 0.6.
    assert found["mean"] == pytest.approx(0.4)
    assert found["standard_error"] == pytest.approx(0.1)
    assert found["spread"] == pytest.approx(0.4 / math.sqrt(2))
    assert cell(found) == "0.400 ± 0.100 (0.283)"
    alone = summary_of(np.array([[0.1, 0.3]]))
    assert "spread" not in alone
    assert cell(alone) == "0.200 ± 0.100"
    assert cell(summary_of(np.array([[NAN, NAN]]))) == ""


def test_a_matrix_has_a_row_for_each_seed():
    made = matrix([{"tic": [0.1, None]}, {"tic": [0.2, 0.3]}], "tic")
    assert made == pytest.approx(np.array([[0.1, NAN], [0.2, 0.3]]), nan_ok=True)
