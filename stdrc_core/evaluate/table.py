"""The paper's columns as cells: its rows, and ours."""

from __future__ import annotations

from collections.abc import Mapping

from .metric_registry import COLUMNS
from .summary import Summary

OURS = "this evaluation"


def number(name: str, value: float) -> str:
    """A value of a metric as the paper writes it."""
    return f"{value:.{COLUMNS[name].decimals}f}"


def our_cells(summary: Summary) -> dict[str, tuple[str, str]]:
    """Metric -> mean, and standard error or nothing; empty where it was not measured."""
    found = {}
    for name in COLUMNS:
        mean = summary.metrics.get(name)
        if mean is None:
            found[name] = ("", "")
            continue
        error = mean.standard_error
        found[name] = (number(name, mean.mean), "" if error is None else number(name, error))
    return found


def paper_cells(row: Mapping[str, float]) -> dict[str, str]:
    """Metric -> the paper's value; empty where it has no such column."""
    return {name: number(name, row[name]) if name in row else "" for name in COLUMNS}
