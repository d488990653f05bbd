"""Means over clips with their standard errors over persons, and Markdown tables of them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from ..shown_text import one_line


class Mean(NamedTuple):
    """A mean over clips and its standard error over persons; NaN where there is none."""

    mean: float
    standard_error: float


def mean_over_persons(values: Sequence[float], persons: Sequence[Hashable]) -> Mean:
    """The mean of `values`, one for each clip, and its standard error over persons.

    `persons` names the person of each clip. Clips of one person are not independent, so that the
    error is that of a sample of clusters: of P persons, each with n_p clips whose values sum to
    s_p, and of N clips in all with the mean m,

        error^2 = P / (P - 1) sum_p (s_p - n_p m)^2 / N^2

    Where all persons have equally many clips, this is the standard deviation of the persons' means
    over sqrt(P). One person has no error, and no values have no mean: both are NaN.
    """
    array = np.asarray(values, dtype=float)
    if not len(array):
        return Mean(math.nan, math.nan)
    mean = float(array.mean())
    sums, counts = person_sums(array, persons)
    num_persons = len(sums)
    if num_persons < 2:
        return Mean(mean, math.nan)
    squares = np.square(sums - counts * mean).sum()
    error = math.sqrt(num_persons / (num_persons - 1) * squares) / len(array)
    return Mean(mean, error)


def person_sums(
    values: Sequence[float], persons: Sequence[Hashable]
) -> tuple[np.ndarray, np.ndarray]:
    """Each person's sum of values and number of values, `[P]` both, in the order in which the
    persons come. `values` and `persons` are as in `mean_over_persons`."""
    places = {person: place for place, person in enumerate(dict.fromkeys(persons))}
    index = [places[person] for person in persons]
    return np.bincount(index, weights=values), np.bincount(index).astype(float)


def plus_minus(mean: float, error: float, decimals: int = 3) -> str:
    """`mean ± error` for a table's cell: empty where there is no mean, the mean alone where it has
    no error. Both may be NaN."""
    if math.isnan(mean):
        return ""
    shown = f"{mean:.{decimals}f}"
    return shown if math.isnan(error) else f"{shown} ± {error:.{decimals}f}"


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, with a line break at its end; each row has as many cells as `heads`."""
    lines = [_line(heads), "|---" * len(heads) + "|", *(_line(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    # A name may hold what ends a cell or a line.
    shown = (one_line(cell).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(shown)} |"
