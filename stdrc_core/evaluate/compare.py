"""`--compare A B`: two finished evaluations, clip by clip (by the video's name).

compare.json   each metric's means, paired difference and its confidence interval
compare.md     the same as a table
compare.html   the same, with the clips that differ most, side by side
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from ..files import write_json, written_aside
from .compare_page import render_comparison
from .metric_registry import COLUMNS
from .paired import Difference, paired_difference
from .results import Result
from .summary import Summary, read_summary
from .table import number

log = logging.getLogger(__name__)

# Of the bootstrap: the same evaluations give the same intervals.
_SEED = 0


class Comparison(BaseModel):
    """compare.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    a: str
    b: str
    num_common: int
    """Clips that both have."""
    num_only_a: int
    num_only_b: int
    metrics: dict[str, Difference]
    left_out: dict[str, str]
    """Metric -> why it is not compared."""


def compare(folder_a: Path, folder_b: Path, out: Path) -> Comparison:
    """Compares and writes. Raises ValueError where there is nothing to compare."""
    a, b = read_summary(folder_a), read_summary(folder_b)
    results_a, results_b = _by_video(a), _by_video(b)
    common = [video for video in results_a if video in results_b]
    if not common:
        raise ValueError(
            f"{folder_a} and {folder_b} have no video name in common; needs evaluations of clips "
            "that are called alike."
        )
    for video in common:
        for key in ("prompt", "person"):
            said_a, said_b = _said(results_a[video], key), _said(results_b[video], key)
            if said_a != said_b:
                raise ValueError(
                    f"video {video} has {key} {said_a!r} in {folder_a} and {said_b!r} in "
                    f"{folder_b}; needs evaluations of the same pairs."
                )
    metrics, left_out = _differences(a, b, common)
    if not metrics:
        raise ValueError(
            f"{folder_a} and {folder_b} have no metric in common on the same clips: "
            f"{'; '.join(left_out.values()) or 'score both with the same --metrics'}."
        )
    comparison = Comparison(
        a=_name(folder_a, folder_b),
        b=_name(folder_b, folder_a),
        num_common=len(common),
        num_only_a=len(results_a) - len(common),
        num_only_b=len(results_b) - len(common),
        metrics=metrics,
        left_out=left_out,
    )
    write_json(out / "compare.json", comparison.model_dump(mode="json"))
    with written_aside(out / "compare.md") as partial:
        partial.write_text(markdown(comparison), encoding="utf-8")
    pairs = [(results_a[video], results_b[video]) for video in common]
    with written_aside(out / "compare.html") as partial:
        page = render_comparison(comparison, counted(comparison), pairs, (folder_a, folder_b))
        partial.write_text(page, encoding="utf-8")
    log.info("%s", out / "compare.html")
    return comparison


def markdown(comparison: Comparison) -> str:
    """A line for each metric."""
    heads = ["", f"A: {comparison.a}", f"B: {comparison.b}", "B - A", "95 % interval", "B higher"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, found in comparison.metrics.items():
        shown = [number(name, value) for value in (found.mean_a, found.mean_b)]
        signed = [
            f"{value:+.{COLUMNS[name].decimals}f}"
            for value in (found.difference, found.low, found.high)
        ]
        difference = f"**{signed[0]}**" if found.is_certain else signed[0]
        cells = [COLUMNS[name].title, *shown, difference, f"{signed[1]} to {signed[2]}"]
        lines.append("| " + " | ".join([*cells, f"{found.share_b_higher:.0%} of clips"]) + " |")
    lines += ["", counted(comparison)]
    lines += [f"Left out: {reason}." for reason in comparison.left_out.values()]
    return "\n".join(lines) + "\n"


def counted(comparison: Comparison) -> str:
    """What the numbers are of, in a sentence or two."""
    persons = max(found.num_persons for found in comparison.metrics.values())
    text = (
        f"{comparison.num_common} clips of {persons} persons that both have; percentile bootstrap "
        "over persons, bold where the interval leaves out 0."
    )
    if comparison.num_only_a or comparison.num_only_b:
        text += f" In A alone {comparison.num_only_a} clips, in B alone {comparison.num_only_b}."
    return text


def _differences(
    a: Summary, b: Summary, common: list[str]
) -> tuple[dict[str, Difference], dict[str, str]]:
    results_a, results_b = _by_video(a), _by_video(b)
    metrics, left_out = {}, {}
    for name, column in COLUMNS.items():
        both = [
            video
            for video in common
            if name in results_a[video].scores and name in results_b[video].scores
        ]
        if not both:
            continue
        if a.settings.get(name) != b.settings.get(name):
            left_out[name] = f"{column.title} was not measured alike (other weights or frames)"
            continue
        metrics[name] = paired_difference(
            [results_a[video].scores[name].value for video in both],
            [results_b[video].scores[name].value for video in both],
            [results_a[video].person or video for video in both],
            torch.Generator().manual_seed(_SEED),
        )
    return metrics, left_out


def _said(result: Result, key: str) -> object:
    return result.person if key == "person" else result.asked.get(key)


def _by_video(summary: Summary) -> dict[str, Result]:
    return {result.video: result for result in summary.results}


def _name(folder: Path, other: Path) -> str:
    """The folder's name; of folders that are called alike, the whole path."""
    resolved = folder.resolve()
    return str(resolved) if resolved.name == other.resolve().name else resolved.name
