"""What numbers say, decided by code: whether two rows differ, and whether a bar is reached.

Rows are compared in pairs: of one person, and of one training where there are several. Of T
trainings and P persons with the differences d_tp,

    error^2 = var_p(mean_t d_tp) / P + var_t(mean_p d_tp) / T

whose terms have P - 1 and T - 1 degrees of freedom; with one training the second is left out. What
one pair has beyond its person and its training is in both terms, so that the error is rather too
large. Seeds of the noise are no trainings: each person's clips have noise of their own, so that
their scores are averaged before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.stats import norm, t

# A difference counts as one where it is larger than so many of its standard errors, if these are
# known well; of few trainings they are not, and Student's t of the same level says how many.
NUM_ERRORS = 2.0
# What the distilled student has to reach against exact guidance: how much it may lose, and the
# share of the transformer's time that it may take.
MOST_LOST, MOST_TIME = 0.01, 0.40
# The share of true clips' FaceSim that the shipped weights have to reach.
LEAST_OF_TRUE = 0.70
# How far motion may be from true clips', as a share of it.
MOST_MOTION_OFF = 0.20


class Direction(StrEnum):
    """Whether the second of two rows is above the first."""

    ABOVE = "above"
    ALIKE = "not told apart"
    BELOW = "below"


class Verdict(StrEnum):
    """How two rows stand to each other beside how they stand in the paper."""

    SAME = "as in the paper"
    ALIKE = "not told apart"
    OTHER = "the other way"


def direction(mean: float, error: float, num_errors: float = NUM_ERRORS) -> Direction:
    """Where a difference of this `mean` and standard `error` points; ALIKE where it is within
    `num_errors` errors of 0, or has no error."""
    if math.isnan(mean) or math.isnan(error) or abs(mean) <= num_errors * error:
        return Direction.ALIKE
    return Direction.ABOVE if mean > 0 else Direction.BELOW


def verdict(way: Direction) -> Verdict:
    """How a step of the paper's order comes out, where the paper's later row is the higher one and
    ours stands in this direction from the one before."""
    return {
        Direction.ABOVE: Verdict.SAME,
        Direction.ALIKE: Verdict.ALIKE,
        Direction.BELOW: Verdict.OTHER,
    }[way]


def difference(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """The mean of `after` minus `before`, both `[T, P]`, its `standard_error` over persons and
    trainings, as the module says, `num_errors`, how many of these make a difference, and its
    `direction`.

    A person with a NaN in either is left out. The error is NaN with fewer than two persons.
    """
    apart = after - before
    apart = apart[:, ~np.isnan(apart).any(axis=0)]
    num_trainings, num_persons = apart.shape
    mean, error, num_errors = math.nan, math.nan, NUM_ERRORS
    if num_persons:
        mean = float(apart.mean())
    if num_persons > 1:
        squared, spread = float(apart.mean(axis=0).var(ddof=1)) / num_persons, 0.0
        if num_trainings > 1:
            spread = float(apart.mean(axis=1).var(ddof=1)) / num_trainings
        error = math.sqrt(squared + spread)
        num_errors = _num_errors((squared, num_persons - 1), (spread, num_trainings - 1))
    way = direction(mean, error, num_errors)
    found = {"mean": mean, "standard_error": error, "num_errors": num_errors}
    return found | {"direction": str(way)}


def _num_errors(*terms: tuple[float, int]) -> float:
    """Student's t at the level of `NUM_ERRORS`, for a sum of squared errors with their degrees of
    freedom (Satterthwaite's)."""
    total = sum(squared for squared, _ in terms)
    weighed = sum(squared**2 / degrees for squared, degrees in terms if squared)
    if not weighed:
        return NUM_ERRORS
    return float(t.ppf(norm.cdf(NUM_ERRORS), total**2 / weighed))


def order(names: Sequence[str], rows: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Each step of the paper's order `names`, of rows `[T, P]`: from which row `to` which, the
    difference, and its verdict."""
    steps = []
    for i in range(1, len(names)):
        found = difference(rows[i - 1], rows[i])
        judged = str(verdict(Direction(found["direction"])))
        steps.append({"from": names[i - 1], "to": names[i], **found, "verdict": judged})
    return steps


def motion_is_like(motion: float, true_motion: float) -> bool:
    """Whether a motion is within 20 % of true clips'."""
    return abs(motion - true_motion) <= MOST_MOTION_OFF * true_motion


def student_bars(
    lost: dict[str, dict[str, float]], gained: dict[str, dict[str, float]], time: float
) -> dict[str, bool]:
    """Which bars a distilled student reaches.

    `lost` and `gained` have, for each compared column, its loss against exact guidance and its gain
    over vyr alone, with their errors; `time` is its share of the transformer's time.
    """
    return {
        "within": all(each["mean"] <= MOST_LOST for each in lost.values()),
        "above_vyr": all(
            direction(each["mean"], each["standard_error"]) is Direction.ABOVE
            for each in gained.values()
        ),
        "time": time <= MOST_TIME,
    }
