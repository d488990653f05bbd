"""Draws a clip's likeness to its photos over time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from ..faces.drift import measure_drift
from ..files import written_aside
from ..shown_text import one_line
from .jobs import Job

# How many characters of a name the plot has room for.
_LENGTH = 60


def plot_over_time(
    path: Path, similarity: Sequence[Sequence[float | None] | None], job: Job
) -> None:
    """Draws the cosines of each photo over the clip's seconds, frames without a face in grey, and
    their drift as a dashed line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.5), layout="constrained")
    axes = figure.subplots()
    shown = [
        (one_line(path.name, _LENGTH), each)
        for path, each in zip(job.references, similarity, strict=True)
        if each is not None
    ]
    lines = []
    for _, values in shown:
        seconds = [i / job.shot.fps for i in range(len(values))]
        levels = [float("nan") if value is None else value for value in values]
        lines += axes.plot(seconds, levels, marker=".")
        drift = measure_drift(range(len(values)), values)
        if drift is not None:
            ends = [0, len(values) - 1]
            axes.plot(
                [end / job.shot.fps for end in ends],
                [drift.at(end) for end in ends],
                color=lines[-1].get_color(),
                linestyle="--",
                linewidth=1,
            )
        for second, value in zip(seconds, values, strict=True):
            if value is None:
                axes.axvline(second, color="lightgrey")
    axes.set(xlabel="seconds", ylabel="cosine with the photo", ylim=(-0.2, 1.05))
    names = [name for name, _ in shown]
    title = f"{job.name}: likeness to {', '.join(names)} (grey: no face)"
    title = one_line(title, 2 * _LENGTH)
    # Names are no formulas: matplotlib would read what stands between two dollars as one.
    axes.set_title(title, fontsize=9, parse_math=False)
    if len(shown) > 1:
        # A label that begins with an underscore is left out, so that names are put in afterwards.
        legend = axes.legend(lines, [str(slot) for slot in range(len(lines))], fontsize=8)
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set(text=name, parse_math=False)
    with written_aside(path) as partial, warnings.catch_warnings():
        # Of characters that its font lacks matplotlib draws boxes, and warns of each.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(partial, format="png")
