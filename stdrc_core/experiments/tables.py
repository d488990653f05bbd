"""Tables of scores over unseen persons: means, and their standard errors over persons.

Scores come as objects with a field for each column, or as matrices `[T, P]` of T trainings or seeds
and P persons, in which NaN stands for what could not be measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluate.tables import markdown_table, mean_over_persons, plus_minus
from .scores import COLUMNS

# Rows of clips that were drawn: what a perfect generator would score, and one with this VAE.
TRUE_CLIPS, DECODED_CLIPS = "true clips", "true clips through the VAE"


def by_person(by_seed: Sequence[Sequence[Any]], name: str) -> np.ndarray:
    """Each person's mean over seeds of the scores' field `name`: `[persons]`.

    `by_seed` has, for each seed, the persons' scores, always in one order of persons. A score whose
    field is None is left out; a person who has no other score is NaN.
    """
    return over_persons(matrix([columns_of(scores, [name]) for scores in by_seed], name))


def columns_of(scores: Sequence[Any], names: Iterable[str]) -> dict[str, list[float | None]]:
    """Column -> each person's score, plain values for JSON."""
    return {name: [getattr(score, name) for score in scores] for name in names}


def matrix(by_seed: Sequence[Mapping[str, Sequence[float | None]]], name: str) -> np.ndarray:
    """The scores of column `name`, `[seeds, persons]`, of what `columns_of` gave for each seed."""
    return np.array([scores[name] for scores in by_seed], dtype=float)


def over_persons(values: np.ndarray) -> np.ndarray:
    """Each person's mean over the seeds `[T, P]` in which it has a score: `[P]`, else NaN."""
    known = ~np.isnan(values)
    sums, counts = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
    return np.divide(sums, counts, out=np.full(len(sums), math.nan), where=counts > 0)


def summary_of(values: np.ndarray) -> dict[str, float]:
    """The `mean` of scores `[T, P]` and its `standard_error` over persons, and where T is above 1
    its `spread`: the standard deviation of the T means."""
    found = mean_and_error(over_persons(values))
    if len(values) > 1:
        means = [mean_and_error(own)["mean"] for own in values]
        found["spread"] = float(np.std(means, ddof=1))
    return found


def mean_and_error(persons: np.ndarray) -> dict[str, float]:
    """The `mean` of one value for each person and its `standard_error`; NaN persons are left out.

    Where nobody is left the mean is NaN, where one person is left the error is NaN.
    """
    known = persons[~np.isnan(persons)]
    return mean_over_persons(known, range(len(known)))._asdict()


def summary(
    by_seed: Sequence[Sequence[Any]], columns: Mapping[str, str] = COLUMNS
) -> dict[str, dict[str, float]]:
    """Each column's mean over persons and its standard error, of scores as `by_person` takes
    them."""
    return {name: mean_and_error(by_person(by_seed, name)) for name in columns}


def table(results: Mapping[str, Mapping[str, Any]], columns: Mapping[str, str] = COLUMNS) -> str:
    """A table in Markdown: a line for each row of `results`, with mean ± standard error."""
    rows = [
        [name, *(cell(result[column]) for column in columns)] for name, result in results.items()
    ]
    return markdown_table(["", *columns.values()], rows)


def cell(found: Mapping[str, float]) -> str:
    """What `mean_and_error` or `summary_of` found, as a cell of a table: the spread stands in
    brackets, and the cell is empty without a mean."""
    shown = plus_minus(known(found["mean"]), known(found["standard_error"]))
    spread = known(found.get("spread"))
    return shown if not shown or math.isnan(spread) else f"{shown} ({spread:.3f})"


def known(value: float | None) -> float:
    """A figure of JSON, where None stands for NaN."""
    return math.nan if value is None else value
