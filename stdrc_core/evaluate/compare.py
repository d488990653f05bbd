"""`--compare A B`: compares two finished evaluations clip by clip; a clip goes by its video's name.

compare.json   each metric's means, paired difference and its confidence interval over persons
compare.md     the same as a table
compare.html   the same, with the clips that differ most, side by side
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from ..faces.gallery import GalleryRule
from ..files import write_json, write_text
from .compare_page import render_comparison
from .comparison import Comparison, Difference, paired_difference
from .metric_registry import COLUMNS
from .results import Result
from .summary import Summary, person_of, read_summary
from .tables import markdown_table

log = logging.getLogger(__name__)

# Of the bootstrap, so that the same evaluations give the same intervals.
_SEED = 0


def compare(folder_a: Path, folder_b: Path, out: Path) -> Comparison:
    """Compares the evaluations in two folders and writes the three files into `out`.

    Raises ValueError where they have no clip or no metric in common, and where a clip was made from
    other prompts or shows another person.
    """
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
    write_text(out / "compare.md", markdown(comparison))
    pairs = [(results_a[video], results_b[video]) for video in common]
    page = render_comparison(comparison, counted(comparison), pairs, (folder_a, folder_b))
    write_text(out / "compare.html", page)
    log.info("%s", out / "compare.html")
    return comparison


def markdown(comparison: Comparison) -> str:
    """A table with a line for each metric, and what it is of."""
    heads = ["", f"A: {comparison.a}", f"B: {comparison.b}", "B - A", "95 % interval", "B higher"]
    rows = []
    for name, found in comparison.metrics.items():
        shown = [COLUMNS[name].number(value) for value in (found.mean_a, found.mean_b)]
        signed = [
            f"{value:+.{COLUMNS[name].decimals}f}"
            for value in (found.difference, found.low, found.high)
        ]
        difference = f"**{signed[0]}**" if found.is_certain else signed[0]
        cells = [COLUMNS[name].title, *shown, difference, f"{signed[1]} to {signed[2]}"]
        rows.append([*cells, f"{found.share_b_higher:.0%} of clips"])
    lines = [counted(comparison)]
    lines += [f"Left out: {reason}." for reason in comparison.left_out.values()]
    return markdown_table(heads, rows) + "\n" + "\n".join(lines) + "\n"


def counted(comparison: Comparison) -> str:
    """What clips and persons the numbers are of, in a sentence or two."""
    persons = max(found.num_persons for found in comparison.metrics.values())
    text = (
        f"{comparison.num_common} clips of {persons} persons that both have; intervals by the "
        "percentile bootstrap over persons, bold where they leave out 0."
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
        if "reference" in column.needs and any(
            _photos(results_a[video]) != _photos(results_b[video]) for video in both
        ):
            left_out[name] = (
                f"{column.title} was not measured alike (other rules or numbers of photos)"
            )
            continue
        if a.settings.get(name) != b.settings.get(name):
            left_out[name] = f"{column.title} was not measured alike (other weights or frames)"
            continue
        metrics[name] = paired_difference(
            [results_a[video].scores[name].value for video in both],
            [results_b[video].scores[name].value for video in both],
            [person_of(results_a[video]) for video in both],
            torch.Generator().manual_seed(_SEED),
        )
    return metrics, left_out


def _photos(result: Result) -> tuple[GalleryRule | None, int]:
    """The rule of a clip's photos, and how many they are."""
    return result.gallery, len(result.asked.get("photos", ()))


def _said(result: Result, key: str) -> object:
    return result.person if key == "person" else result.asked.get(key)


def _by_video(summary: Summary) -> dict[str, Result]:
    return {result.video: result for result in summary.results}


def _name(folder: Path, other: Path) -> str:
    """The folder's name, or its whole path where the other folder has the same name."""
    resolved = folder.resolve()
    return str(resolved) if resolved.name == other.resolve().name else resolved.name
