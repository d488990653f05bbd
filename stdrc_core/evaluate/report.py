"""Writes an evaluation's reports: metrics.json, metrics.csv, metrics.md and report.html."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ..files import write_json, write_text
from ..shown_text import one_line
from .metric_registry import COLUMNS
from .page import render_page
from .paper import ABLATION, OURS, SYSTEMS, counted, our_cells, paper_cells, told_beside
from .results import Store
from .summary import METRICS_FILE, Summary
from .tables import markdown_table

# The columns of metrics.csv on others than the scored face, in frames looked at, and on drift.
_OTHERS = ("with_others", "other_nearer")
_DRIFT = ("drift", "drift_error")


def write_report(out: Path, summary: Summary, store: Store) -> None:
    """Writes the four files into `out`; `store` has the pictures of the clips."""
    write_json(out / METRICS_FILE, summary.model_dump(mode="json"))
    _write_csv(out / "metrics.csv", summary)
    write_text(out / "metrics.md", markdown(summary))
    write_text(out / "report.html", render_page(summary, store))


def markdown(summary: Summary) -> str:
    """The paper's table with our row below, mean ± standard error over persons, and what could not
    be scored."""
    rows = [[f"{row.system} (paper)", *paper_cells(row).values()] for row in (*SYSTEMS, *ABLATION)]
    ours = [
        f"**{mean} ± {error}**" if error else mean for mean, error in our_cells(summary).values()
    ]
    rows.append([f"**{OURS}**", *ours])
    table = markdown_table(["", *(column.title for column in COLUMNS.values())], rows)
    lines = [counted(summary)]
    for name, mean in summary.metrics.items():
        if mean.num_clips < summary.num_clips:
            lines.append(f"{COLUMNS[name].title} could score {mean.num_clips} of them.")
    lines += told_beside(summary)
    if summary.verification is not None:
        found = summary.verification
        lines.append(
            f"FaceSim-Arc with photos of the same person {found.mean_same:.3f} "
            f"({found.num_same} pairs), "
            f"of others {found.mean_different:.3f} ({found.num_different} pairs): "
            f"AUC {found.auc:.4f}."
        )
    crowded = [each for each in summary.results if each.others and each.others.num_frames]
    if crowded:
        lines += ["", "Other people beside the scored face, which is the largest of a frame:", ""]
        lines += [f"- {result.video}: {result.others.sentence}" for result in crowded]
    broken = [result for result in summary.results if result.problems]
    if broken:
        lines += ["", "Not scored:", ""]
        for result in broken:
            for name, problem in result.problems.items():
                lines.append(one_line(f"- {result.video}, {COLUMNS[name].title}: {problem}"))
    return table + "\n" + "\n".join(lines) + "\n"


def _write_csv(path: Path, summary: Summary) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["video", "person", "prompt", *COLUMNS, "problems", *_OTHERS, *_DRIFT])
    for result in summary.results:
        values = [result.scores[name].value if name in result.scores else "" for name in COLUMNS]
        problems = "; ".join(f"{name}: {said}" for name, said in result.problems.items())
        prompt = result.asked.get("prompt") or ""
        told = result.others
        others = ["", ""] if told is None else [told.num_frames, told.num_nearer]
        drift = result.drift
        drifts = ["", ""] if drift is None else [drift.slope, drift.error]
        row = [result.video, result.person or "", prompt, *values, problems, *others, *drifts]
        writer.writerow(row)
    write_text(path, text.getvalue())
