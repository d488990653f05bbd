"""Tables of scores over unseen persons: means, and their standard errors over persons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    persons = []
    for scores in zip(*by_seed, strict=True):
        known = [value for score in scores if (value := getattr(score, name)) is not None]
        persons.append(np.mean(known) if known else math.nan)
    return np.array(persons, dtype=float)


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
    """What `mean_and_error` found, as a cell of a table; empty without a mean."""
    return plus_minus(found["mean"], found["standard_error"])
