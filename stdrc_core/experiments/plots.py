"""Writes matplotlib's figures whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..files import written_aside

_DPI = 110


@contextmanager
def figure_at(path: Path, width_inch: float, height_inch: float) -> Iterator[Any]:
    """Gives an empty matplotlib figure, and writes it to `path` as a PNG when the block is left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    yield figure
    with written_aside(path) as partial:
        figure.savefig(partial, format="png", dpi=_DPI)
