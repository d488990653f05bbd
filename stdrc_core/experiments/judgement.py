"""What numbers say, decided by code: whether two rows differ, and whether a bar is reached.

Rows are compared in pairs: of one person, and of one training where there are several. Of T
trainings and P persons with the differences d_tp,

    error^2 = var_p(mean_t d_tp) / P + var_t(mean_p d_tp) / T

so that other persons and other trainings would seldom turn a difference that is larger than two
such errors. With one training the second term is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np

# A difference counts as one where it is larger than so many of its standard errors.
NUM_ERRORS = 2.0
# What the distilled student has to reach against exact guidance: how much it may lose, and the
# share of the transformer's time that it may take.
MOST_LOST, MOST_TIME = 0.01, 0.40
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


def direction(mean: float, error: float) -> Direction:
    """Where a difference of this `mean` and standard `error` points; ALIKE where it is within two
    errors of 0, or has no error."""
    if math.isnan(mean) or math.isnan(error) or abs(mean) <= NUM_ERRORS * error:
        return Direction.ALIKE
    return Direction.ABOVE if mean > 0 else Direction.BELOW


def verdict(mean: float, error: float) -> Verdict:
    """How a step of the paper's order comes out, where the paper's later row is the higher one and
    ours minus the one before has this `mean` and standard `error`."""
    return {
        Direction.ABOVE: Verdict.SAME,
        Direction.ALIKE: Verdict.ALIKE,
        Direction.BELOW: Verdict.OTHER,
    }[direction(mean, error)]


def difference(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """The mean of `after` minus `before`, both `[T, P]`, and its `standard_error` over persons and
    trainings, as the module says.

    A person with a NaN in either is left out. The error is NaN with fewer than two persons.
    """
    apart = after - before
    apart = apart[:, ~np.isnan(apart).any(axis=0)]
    num_trainings, num_persons = apart.shape
    if num_persons < 2:
        mean = float(apart.mean()) if num_persons else math.nan
        return {"mean": mean, "standard_error": math.nan}
    squared = float(apart.mean(axis=0).var(ddof=1)) / num_persons
    if num_trainings > 1:
        squared += float(apart.mean(axis=1).var(ddof=1)) / num_trainings
    return {"mean": float(apart.mean()), "standard_error": math.sqrt(squared)}


def order(names: Sequence[str], rows: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Each step of the paper's order `names`, of rows `[T, P]`: from which row `to` which, the
    difference, and its verdict."""
    steps = []
    for i in range(1, len(names)):
        found = difference(rows[i - 1], rows[i])
        judged = str(verdict(found["mean"], found["standard_error"]))
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
