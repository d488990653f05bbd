"""Tables of scores over unseen persons: means, and their standard errors over persons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .scores import COLUMNS

# Rows of clips that were drawn: what a perfect generator would score, and one with this VAE.
TRUE_CLIPS, DECODED_CLIPS = "true clips", "true clips through the VAE"


def by_person(by_seed: Sequence[Sequence[Any]], name: str) -> np.ndarray:
    """The column `name` of each person, its mean over seeds, `[persons]`.

    `by_seed` are each seed's scores in one order of persons: clips of one person are not
    independent. None values are left out; a person who has no other is NaN.
    """
    persons = []
    for scores in zip(*by_seed, strict=True):
        known = [value for score in scores if (value := getattr(score, name)) is not None]
        persons.append(np.mean(known) if known else math.nan)
    return np.array(persons, dtype=float)


def mean_and_error(persons: np.ndarray) -> dict[str, float]:
    """The mean over persons and its standard error; NaN persons are left out."""
    known = persons[~np.isnan(persons)]
    error = known.std(ddof=1) / len(known) ** 0.5 if len(known) > 1 else math.nan
    mean = known.mean() if len(known) else math.nan
    return {"mean": float(mean), "standard_error": float(error)}


def summary(
    by_seed: Sequence[Sequence[Any]], columns: Mapping[str, str] = COLUMNS
) -> dict[str, dict[str, float]]:
    """Each column's mean over persons and its standard error; None values are left out."""
    return {name: mean_and_error(by_person(by_seed, name)) for name in columns}


def table(results: Mapping[str, Mapping[str, Any]], columns: Mapping[str, str] = COLUMNS) -> str:
    """Markdown: a line for each row, mean ± standard error."""
    lines = ["| | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, result in results.items():
        cells = [cell(**result[column]) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(mean: float, standard_error: float) -> str:
    """A table's cell; empty without a mean."""
    if math.isnan(mean):
        return ""
    # One person has no standard error.
    return f"{mean:.3f}" if math.isnan(standard_error) else f"{mean:.3f} ± {standard_error:.3f}"
