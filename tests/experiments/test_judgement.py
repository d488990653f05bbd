"""What code says of numbers, on numbers whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stdrc_core.experiments.judgement import (
    Direction,
    Verdict,
    difference,
    direction,
    motion_is_like,
    order,
    student_bars,
    verdict,
)


@pytest.mark.parametrize(
    ("mean", "error", "way"),
    [
        (0.3, 0.1, Direction.ABOVE),
        (-0.3, 0.1, Direction.BELOW),
        (0.2, 0.1, Direction.ALIKE),
        (-0.1, 0.1, Direction.ALIKE),
        (0.0, 0.0, Direction.ALIKE),
        (0.3, math.nan, Direction.ALIKE),
        (math.nan, 0.1, Direction.ALIKE),
    ],
)
def test_a_difference_counts_above_two_errors(mean: float, error: float, way: Direction):
    assert direction(mean, error) is way
    assert (verdict(way) is Verdict.SAME) == (way is Direction.ABOVE)
    assert (verdict(way) is Verdict.OTHER) == (way is Direction.BELOW)


def test_the_error_is_of_persons_and_of_trainings():
    before = np.zeros((2, 3))
    # The persons' means are 1, 2 and 3, with a variance of 1; the trainings' 1.5 and 2.5, of 1/2.
    after = np.array([[0.5, 1.5, 2.5], [1.5, 2.5, 3.5]])
    found = difference(before, after)
    assert found["mean"] == pytest.approx(2)
    assert found["standard_error"] == pytest.approx(math.sqrt(1 / 3 + 0.5 / 2))
    alone = difference(before[:1], after[:1])
    assert alone["standard_error"] == pytest.approx(math.sqrt(1 / 3))


def test_pairs_cancel_what_persons_have_in_common():
    rng = np.random.default_rng(0)
    before = rng.normal(size=(3, 50))
    found = difference(before, before + 0.1)
    assert found["mean"] == pytest.approx(0.1)
    assert found["standard_error"] == pytest.approx(0, abs=1e-9)


def test_who_was_not_measured_is_left_out():
    before = np.array([[0.0, 0.0, 0.0, math.nan]])
    found = difference(before, np.array([[1.0, 3.0, math.nan, 5.0]]))
    assert (found["mean"], found["standard_error"]) == (2, 1)
    nobody = difference(before, np.full((1, 4), math.nan))
    assert math.isnan(nobody["mean"]) and math.isnan(nobody["standard_error"])


def test_the_errors_are_those_of_many_drawn_worlds():
    """The spread of the mean over repeated draws of persons and trainings is what is called its
    error."""
    rng = np.random.default_rng(1)
    means, errors = [], []
    for _ in range(3000):
        persons = rng.normal(scale=0.3, size=(1, 20))
        trainings = rng.normal(scale=0.1, size=(3, 1))
        found = difference(np.zeros((3, 20)), persons + trainings)
        means.append(found["mean"])
        errors.append(found["standard_error"] ** 2)
    assert np.sqrt(np.mean(errors)) == pytest.approx(np.std(means), rel=0.05)


def test_what_differs_by_chance_is_told_apart_as_seldom_as_by_two_errors():
    """Of 3 trainings that are far more apart than persons, 1 in 20 at most: with two errors it
    would be 18 in 100, as Student's t of 2 degrees of freedom has it."""
    rng = np.random.default_rng(2)
    told = []
    for _ in range(2000):
        persons, trainings = rng.normal(scale=0.01, size=(1, 50)), rng.normal(size=(3, 1))
        own = rng.normal(scale=0.01, size=(3, 50))
        told.append(difference(np.zeros((3, 50)), persons + trainings + own)["direction"])
    share = sum(way != Direction.ALIKE for way in told) / len(told)
    assert 0.03 < share < 0.06
    many = difference(np.zeros((1, 100)), rng.normal(size=(1, 100)))
    assert many["num_errors"] == pytest.approx(2, abs=0.05)


def test_an_order_is_judged_step_by_step():
    rows = [np.array([[0.1, 0.2, 0.3]]) + move for move in (0, 0.2, 0.2, 0.05)]
    # A person of its own keeps the third row's step from being exact.
    rows[2] = rows[2] + np.array([[0.01, -0.01, 0.0]])
    steps = order(["a", "b", "c", "d"], rows)
    assert [(step["from"], step["to"]) for step in steps] == [("a", "b"), ("b", "c"), ("c", "d")]
    assert [step["verdict"] for step in steps] == [Verdict.SAME, Verdict.ALIKE, Verdict.OTHER]
    assert steps[0]["mean"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("motion", "like"), [(0.81, True), (1.19, True), (0.79, False), (1.21, False), (3.0, False)]
)
def test_motion_has_a_bar_on_both_sides(motion: float, like: bool):
    assert motion_is_like(motion * 0.015, 0.015) is like


def test_a_student_has_three_bars():
    def bars(lost: float, gained: float, time: float) -> dict[str, bool]:
        column = {"facesim": {"mean": lost, "standard_error": 0.0}}
        over = {"facesim": {"mean": gained, "standard_error": 0.01}}
        return student_bars(column | {"caption": {"mean": -0.5}}, over, time)

    reached = {"within": True, "above_vyr": True, "time": True}
    assert bars(0.01, 0.03, 0.40) == reached
    assert bars(0.011, 0.03, 0.40) == reached | {"within": False}
    assert bars(0.01, 0.02, 0.40) == reached | {"above_vyr": False}
    assert bars(0.01, 0.03, 0.41) == reached | {"time": False}
