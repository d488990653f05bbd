"""`python -m stdrc_core.mini ablation`: the paper's ablation (SPEC section 6) on the miniature.

Trains what is not trained yet, each row by its recipe and for as many steps, from the base of a
build; samples the same prompts, photos and seeds of persons that none has seen; and writes

    ablation.json   each row's means and standard errors (over persons)
    ablation.md     the same as a table
    ablation.png    photos beside each row's clips
    sweeps.json, sweeps.png   the last row's scores over s_r and over s_y

Run again, it goes on: a row that is scored (row_N.json) stays as it is.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backbone import load_backbone
from ..checkpoint_files import open_checkpoint
from ..faces.finder import FaceFinder, open_face_pack
from ..faces.remembered import RememberingFinder
from ..files import write_json, written_aside
from ..levels import to_levels
from ..pipeline import Pipeline, Shot
from ..reference import fit_reference
from ..trained_for import from_settings
from ..vae import load_vae
from ..video import contact_sheet
from .build import BASE, add_speed_arguments, train_recipe
from .drawing import FPS, NUM_FRAMES, SIDE_PX
from .reader import CaptionReader, train_reader
from .scores import COLUMNS, Case, Score, draw_cases, sample_cases, score_clips
from .shipped import CHECKPOINT_NAME
from .text import MiniatureText
from .vae_training import signed

log = logging.getLogger(__name__)

TEXT_SCALE, REFERENCE_SCALE = 2.0, 4.0
SHOT = Shot(
    num_frames=NUM_FRAMES,
    height=SIDE_PX,
    width=SIDE_PX,
    fps=FPS,
    num_steps=20,
    text_scale=TEXT_SCALE,
    reference_scale=REFERENCE_SCALE,
)
_READER = {"num_clips": 4000, "num_steps": 1200}
_SWEPT = (0.0, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0)
# Rows and columns of the contact sheet: persons, and frames of each row's clip.
_SHEET_PERSONS, _SHEET_FRAMES = 6, 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: weights and how they are guided."""

    name: str
    recipe: str | None
    """Below the recipes; None is the build's base."""
    text_scale: float = TEXT_SCALE
    reference_scale: float = TEXT_SCALE


ROWS = (
    Row(name="base", recipe=None, reference_scale=0.0),
    Row(name="+ reference concat (overlap)", recipe="mini_overlap"),
    Row(name="+ TASS-RoPE", recipe="mini_tass"),
    Row(name="+ augmentation", recipe="mini_augmentation"),
    Row(name="+ identity losses", recipe="mini"),
    Row(name="+ decoupled guidance", recipe="mini", reference_scale=REFERENCE_SCALE),
)
TRUE_CLIPS, DECODED_CLIPS = "true clips", "true clips through the VAE"


def main(args: argparse.Namespace) -> None:
    """Trains, samples, scores and writes."""
    args.out.mkdir(parents=True, exist_ok=True)
    cases = draw_cases(args.num_persons, args.seed)
    # Each row is scored against the same photos.
    faces = RememberingFinder(open_face_pack(args.build / "faces"))
    reader = _read_or_train_reader(args.build, args.seed)
    results: dict[str, dict[str, Any]] = {}
    shown: dict[str, list[Tensor]] = {}
    for number, row in enumerate(ROWS):
        pipeline = open_row(row, args.build, in_bfloat16=args.bfloat16, compiled=args.compile)
        shot = replace(SHOT, text_scale=row.text_scale, reference_scale=row.reference_scale)
        done = args.out / f"row_{number}.json"
        if not done.is_file():
            scores = []
            for seed in range(args.num_seeds):
                clips = sample_cases(pipeline, cases, shot, seed, row.name)
                scores.append(score_clips(clips, cases, faces, reader))
            write_json(done, summary(scores))
        results[row.name] = json.loads(done.read_text())
        shown[row.name] = sample_cases(pipeline, cases[:_SHEET_PERSONS], shot, 0, "sheet")
    truth = [case.true_clip() for case in cases]
    decoded = _round_trip(pipeline, truth)
    for name, clips in ((TRUE_CLIPS, truth), (DECODED_CLIPS, decoded)):
        results[name] = summary([score_clips(clips, cases, faces, reader)])
    write_json(args.out / "ablation.json", results)
    with written_aside(args.out / "ablation.md") as partial:
        partial.write_text(table(results))
    _draw_sheet(args.out / "ablation.png", cases, shown)
    sweeps = sweep(pipeline, cases[: args.num_swept], faces, reader)
    write_json(args.out / "sweeps.json", sweeps)
    plot_sweeps(args.out / "sweeps.png", sweeps)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--build", type=Path, required=True, help="OUT of `python -m stdrc_core.mini build`")
    add("--out", type=Path, required=True, help="folder for the table and pictures")
    add_speed_arguments(parser)
    add("--num-persons", type=int, default=100)
    add("--num-seeds", type=int, default=3)
    add("--num-swept", type=int, default=50, help="persons of the sweeps over the scales")
    add("--seed", type=int, default=1234, help="of persons and scenes")


def open_row(
    row: Row, build: Path, *, in_bfloat16: bool = False, compiled: bool = False
) -> Pipeline:
    """The row's weights, trained first where they are not there."""
    base = build / BASE
    if row.recipe is None:
        return open_pipeline(base)
    is_shipped = row.recipe == "mini"
    path = build / (CHECKPOINT_NAME if is_shipped else f"{row.recipe}.safetensors")
    if not path.exists():
        train_recipe(row.recipe, path, base, build, in_bfloat16=in_bfloat16, compiled=compiled)
    return open_pipeline(path)


def open_pipeline(path: Path) -> Pipeline:
    """A miniature's file, ready to sample; without a word of its training, as the paper's."""
    backbone = load_backbone(path, dtype=torch.float32).eval()
    vae, empty = load_vae(path, torch.float32), MiniatureText().encode("")
    facts = from_settings(open_checkpoint(path).config["transformer"])
    placing = {}
    if facts is not None:
        placing = {"placement": facts.placement, "reference_timestep": facts.reference_timestep}
    return Pipeline(backbone=backbone, vae=vae, empty_context=empty, **placing)


def summary(by_seed: Sequence[Sequence[Score]]) -> dict[str, dict[str, float]]:
    """Each column's mean over persons and its standard error; None values are left out."""
    result = {}
    for name in COLUMNS:
        # Of one person's clips first: they are not independent.
        values = [
            [getattr(score, name) for score in scores] for scores in zip(*by_seed, strict=True)
        ]
        known = [[value for value in own if value is not None] for own in values]
        persons = np.array([np.mean(own) for own in known if own])
        error = persons.std(ddof=1) / len(persons) ** 0.5 if len(persons) > 1 else math.nan
        mean = persons.mean() if len(persons) else math.nan
        result[name] = {"mean": float(mean), "standard_error": float(error)}
    return result


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: a line for each row, mean ± standard error."""
    lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, result in results.items():
        cells = [
            f"{result[column]['mean']:.3f} ± {result[column]['standard_error']:.3f}"
            for column in COLUMNS
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def sweep(
    pipeline: Pipeline, cases: Sequence[Case], faces: FaceFinder, reader: CaptionReader
) -> dict[str, list[dict[str, Any]]]:
    """Scores over s_r at the default s_y, and over s_y at the default s_r."""
    sweeps: dict[str, list[dict[str, Any]]] = {}
    for name in ("reference_scale", "text_scale"):
        sweeps[name] = []
        for scale in _SWEPT:
            scales = {"text_scale": TEXT_SCALE, "reference_scale": REFERENCE_SCALE, name: scale}
            clips = sample_cases(pipeline, cases, replace(SHOT, **scales), 0, f"{name} {scale}")
            scores = summary([score_clips(clips, cases, faces, reader)])
            sweeps[name].append({"scale": scale, **scores})
    return sweeps


def plot_sweeps(path: Path, sweeps: dict[str, list[dict[str, Any]]]) -> None:
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


def _read_or_train_reader(build: Path, seed: int) -> CaptionReader:
    path = build / "reader.pt"
    if path.is_file():
        reader = CaptionReader()
        reader.load_state_dict(torch.load(path, weights_only=True))
        return reader.eval()
    reader = train_reader(**_READER, seed=seed)
    with written_aside(path) as partial:
        torch.save(reader.state_dict(), partial)
    return reader


@torch.no_grad()
def _round_trip(pipeline: Pipeline, clips: Sequence[Tensor]) -> list[Tensor]:
    decoded = []
    for clip in clips:
        pixels = signed(clip.movedim(-1, 1)[None])
        back = pipeline.vae.decode(pipeline.vae.encode(pixels))
        decoded.append(to_levels((back[0].movedim(0, -1) + 1) / 2))
    return decoded


def _draw_sheet(path: Path, cases: Sequence[Case], rows: dict[str, list[Tensor]]) -> None:
    """A line for each person: the photo, then a few frames of each row's clip."""
    lines = []
    for i, case in enumerate(cases[:_SHEET_PERSONS]):
        tiles = [to_levels(fit_reference(case.photo, SIDE_PX, SIDE_PX))]
        for clips in rows.values():
            tiles.append(clips[i][np.linspace(0, NUM_FRAMES - 1, _SHEET_FRAMES).astype(int)])
        lines.append(torch.cat(tiles))
    labels = [f"photo, {', '.join(rows)}: {case.scene.caption}" for case in cases]
    columns = 1 + _SHEET_FRAMES * len(rows)
    contact_sheet(path, lines, labels=labels, num_columns=columns, tile_height=SIDE_PX)
