"""`python -m stdrc_core.experiments ablation`: the paper's ablation in small.

Each row is trained by its recipe from the base of a build, all for the same number of steps, unless
it is trained already. Then the same prompts, photos and seeds of persons that none of them has seen
are sampled by each row, and also by the weights that the build ends with, which are trained for
longer. It writes

    ablation.json   each row's means and standard errors over persons
    ablation.md     the same as a table
    ablation.png    photos beside each row's clips
    sweeps.json, sweeps.png   the last row's scores over s_r and over s_y

The same command again goes on where it was stopped: a row that is scored (row_N.json) stays as it
is.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..faces.caching_finder import CachingFinder
from ..faces.finder import FaceFinder, open_face_pack
from ..files import write_json, write_text, written_aside
from ..generate.pipeline import Pipeline
from ..mini.shipped import CHECKPOINT_NAME
from ..mini_build.build import BASE, train_recipe
from ..text_files import read_json
from .models import (
    REFERENCE_SCALE,
    SHOT,
    TEXT_SCALE,
    open_pipeline,
    open_reader,
    round_trip,
)
from .reader import CaptionReader
from .scores import COLUMNS, Case, draw_cases, sample_cases, score_clips
from .sheets import compare_rows
from .tables import DECODED_CLIPS, TRUE_CLIPS, summary, table

log = logging.getLogger(__name__)

_SWEPT = (0.0, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0)
# Rows and columns of the contact sheet: persons, and frames of each row's clip.
_SHEET_PERSONS, _SHEET_FRAMES = 6, 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: which weights it has, and how they are guided."""

    name: str
    recipe: str | None
    """The name of the trainer's recipe; None is the build's base."""
    text_scale: float = TEXT_SCALE
    reference_scale: float = TEXT_SCALE


ROWS = (
    Row(name="base", recipe=None, reference_scale=0.0),
    Row(name="+ reference concat (overlap)", recipe="mini_overlap"),
    Row(name="+ TASS-RoPE", recipe="mini_tass"),
    Row(name="+ augmentation", recipe="mini_augmentation"),
    Row(name="+ identity losses", recipe="mini_identity"),
    Row(name="+ decoupled guidance", recipe="mini_identity", reference_scale=REFERENCE_SCALE),
    # It is the method of the row before, trained for more steps.
    Row(name="the shipped miniature", recipe="mini", reference_scale=REFERENCE_SCALE),
)


def main(args: argparse.Namespace) -> None:
    """Trains, samples and scores what is missing, and writes the tables and pictures."""
    args.out.mkdir(parents=True, exist_ok=True)
    cases = draw_cases(args.num_persons, args.seed)
    # All rows are scored against the same photos, which are searched for faces once.
    faces = CachingFinder(open_face_pack(args.build / "faces"))
    reader = open_reader(args.build / "reader.pt", args.seed)
    results: dict[str, dict[str, Any]] = {}
    shown: dict[str, list[Tensor]] = {}
    for number, row in enumerate(ROWS):
        pipeline = open_row(row, args.build, in_bfloat16=args.bfloat16, compiled=args.compile)
        shot = SHOT.guided(text_scale=row.text_scale, reference_scale=row.reference_scale)
        done = args.out / f"row_{number}.json"
        if not done.is_file():
            scores = []
            for seed in range(args.num_seeds):
                clips = sample_cases(pipeline, cases, shot, seed, row.name)
                scores.append(score_clips(clips, cases, faces, reader))
            write_json(done, summary(scores))
        results[row.name] = read_json(done)
        shown[row.name] = sample_cases(pipeline, cases[:_SHEET_PERSONS], shot, 0, "sheet")
    truth = [case.true_clip() for case in cases]
    decoded = round_trip(pipeline, truth)
    for name, clips in ((TRUE_CLIPS, truth), (DECODED_CLIPS, decoded)):
        results[name] = summary([score_clips(clips, cases, faces, reader)])
    write_json(args.out / "ablation.json", results)
    write_text(args.out / "ablation.md", table(results))
    sheet_cases = cases[:_SHEET_PERSONS]
    compare_rows(
        args.out / "ablation.png",
        [[case.photo] for case in sheet_cases],
        [case.scene.caption for case in sheet_cases],
        shown,
        num_frames=_SHEET_FRAMES,
    )
    sweeps = sweep(pipeline, cases[: args.num_swept], faces, reader)
    write_json(args.out / "sweeps.json", sweeps)
    plot_sweeps(args.out / "sweeps.png", sweeps)


def open_row(
    row: Row, build: Path, *, in_bfloat16: bool = False, compiled: bool = False
) -> Pipeline:
    """The pipeline with the row's weights, which are trained first where they are not there."""
    base = build / BASE
    if row.recipe is None:
        return open_pipeline(base)
    is_shipped = row.recipe == "mini"
    path = build / (CHECKPOINT_NAME if is_shipped else f"{row.recipe}.safetensors")
    if not path.exists():
        train_recipe(row.recipe, path, base, build, in_bfloat16=in_bfloat16, compiled=compiled)
    return open_pipeline(path)


def sweep(
    pipeline: Pipeline, cases: Sequence[Case], faces: FaceFinder, reader: CaptionReader
) -> dict[str, list[dict[str, Any]]]:
    """Scale -> its values, each with its scores: s_r is swept at the default s_y, and s_y at the
    default s_r."""
    sweeps: dict[str, list[dict[str, Any]]] = {}
    for name in ("reference_scale", "text_scale"):
        sweeps[name] = []
        for scale in _SWEPT:
            scales = {"text_scale": TEXT_SCALE, "reference_scale": REFERENCE_SCALE, name: scale}
            clips = sample_cases(pipeline, cases, SHOT.guided(**scales), 0, f"{name} {scale}")
            scores = summary([score_clips(clips, cases, faces, reader)])
            sweeps[name].append({"scale": scale, **scores})
    return sweeps


def plot_sweeps(path: Path, sweeps: dict[str, list[dict[str, Any]]]) -> None:
    """Draws each score over s_r and over s_y, with its standard error over persons."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    fixed = {"reference_scale": f"s_y = {TEXT_SCALE:g}", "text_scale": f"s_r = {REFERENCE_SCALE:g}"}
    symbols = {"reference_scale": "s_r", "text_scale": "s_y"}
    for axes, (name, points) in zip(
        figure.subplots(1, 2, sharey=True), sweeps.items(), strict=True
    ):
        scales = [point["scale"] for point in points]
        for column, label in COLUMNS.items():
            means = [point[column]["mean"] for point in points]
            errors = [point[column]["standard_error"] for point in points]
            axes.errorbar(scales, means, errors, label=label, marker=".", capsize=2)
        axes.set(xlabel=symbols[name], title=fixed[name], ylim=(0, 1))
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    with written_aside(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
