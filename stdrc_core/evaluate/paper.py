"""The paper's tables (docs/method.md section 6), and our row in their columns."""

from __future__ import annotations

from typing import NamedTuple

from ..faces.gallery import GalleryRule
from .metric_registry import COLUMNS
from .summary import Summary

OURS = "this evaluation"


class PaperRow(NamedTuple):
    """A system and its mean scores, by the metrics' names."""

    system: str
    facesim_arc: float
    facesim_cur: float
    clip: float
    aq: float
    iq: float
    ms: float
    dd: float


# Table 1 of the paper.
SYSTEMS = (
    PaperRow("ConsisID", 0.566, 0.593, 31.47, 0.526, 0.670, 0.982, 0.51),
    PaperRow("Phantom", 0.537, 0.627, 31.55, 0.532, 0.668, 0.982, 0.87),
    PaperRow("VACE", 0.423, 0.444, 32.61, 0.564, 0.688, 0.986, 0.71),
    PaperRow("IPVG-STD", 0.492, 0.519, 31.82, 0.561, 0.683, 0.986, 0.88),
    PaperRow("ST-DRC", 0.631, 0.671, 33.04, 0.576, 0.682, 0.992, 0.93),
)
# The paper's ablation: each row adds to the one before.
ABLATION = (
    PaperRow("LTX-2.3 base", 0.284, 0.317, 32.18, 0.558, 0.681, 0.985, 0.87),
    PaperRow("+ reference concat", 0.541, 0.579, 31.76, 0.548, 0.674, 0.961, 0.83),
    PaperRow("+ TASS-RoPE", 0.573, 0.612, 31.94, 0.555, 0.677, 0.972, 0.86),
    PaperRow("+ augmentation", 0.592, 0.631, 32.12, 0.563, 0.679, 0.979, 0.89),
    PaperRow("+ identity losses", 0.618, 0.658, 32.28, 0.568, 0.680, 0.986, 0.88),
    PaperRow("+ decoupled guidance", 0.631, 0.671, 33.04, 0.576, 0.682, 0.992, 0.93),
)


def paper_cells(row: PaperRow) -> dict[str, str]:
    """Metric -> the paper's value as text; empty for a metric that the paper leaves out."""
    values = row._asdict()
    return {
        name: column.number(values[name]) if name in values else ""
        for name, column in COLUMNS.items()
    }


def our_cells(summary: Summary) -> dict[str, tuple[str, str]]:
    """Metric -> our mean and its standard error as text; empty where there is none."""
    cells = dict.fromkeys(COLUMNS, ("", ""))
    for name, found in summary.metrics.items():
        error = found.standard_error
        shown = "" if error is None else COLUMNS[name].number(error)
        cells[name] = (COLUMNS[name].number(found.mean), shown)
    return cells


def told_beside(summary: Summary) -> list[str]:
    """What a reader of FaceSim needs to know beside it, in sentences: drift, and which clips were
    compared with several photos and how."""
    told = []
    if summary.drift is not None:
        error = summary.drift.standard_error
        shown = "" if error is None else f" ± {error:.3f}"
        told.append(
            f"Drift, the change of a clip's cosines over 100 frames: {summary.drift.mean:+.3f}"
            f"{shown} in {summary.drift.num_clips} clips."
        )
    for rule in GalleryRule:
        count = sum(result.gallery is rule for result in summary.results)
        if count:
            told.append(
                f"FaceSim of {count} clips is with several photos of the person, {rule.words}; the "
                "published protocol has one photo."
            )
    return told


def counted(summary: Summary) -> str:
    """How many clips and persons the means and their errors are of, in a sentence."""
    persons = max((found.num_persons for found in summary.metrics.values()), default=0)
    return f"{summary.num_clips} clips of {persons} persons; mean ± standard error over persons."
