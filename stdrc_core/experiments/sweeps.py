"""Scores of the shipped weights over s_r and over s_y."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .models import REFERENCE_SCALE, SHOT, TEXT_SCALE
from .plots import figure_at
from .scores import COLUMNS, draw_cases, sample_cases, score_clips
from .tables import columns_of, matrix, summary_of
from .workplace import Part, Workplace

SWEPT = (0.0, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0)
SCALES = ("reference_scale", "text_scale")
_PICTURE = "sweeps.png"


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that decide the part."""
    return {"persons": args.num_swept, "persons_seed": args.seed, "steps": args.steps}


def measure(place: Workplace) -> dict[str, Any]:
    """Scale -> its values, each with its scores: s_r is swept at the default s_y, and s_y at the
    default s_r."""
    args = place.args
    cases = draw_cases(args.num_swept, args.seed)
    sweeps: dict[str, list[dict[str, Any]]] = {}
    for name in SCALES:
        sweeps[name] = []
        for scale in SWEPT:
            scales = {"text_scale": TEXT_SCALE, "reference_scale": REFERENCE_SCALE, name: scale}
            shot = replace(SHOT, num_steps=args.steps).guided(**scales)

            def score(shot=shot, label=f"{name} {scale:g}") -> dict[str, list[float | None]]:
                clips = sample_cases(place.pipeline, cases, shot, 0, label)
                return columns_of(score_clips(clips, cases, place.faces, place.reader), COLUMNS)

            decisive = asked(args) | {"shot": dataclasses.asdict(shot)}
            scores = place.keep(f"{name}_{scale:g}", decisive, score)
            point = {column: summary_of(matrix([scores], column)) for column in COLUMNS}
            sweeps[name].append({"scale": scale, **point})
    plot(place.picture(_PICTURE), sweeps)
    return {"sweeps": sweeps, "text_scale": TEXT_SCALE, "reference_scale": REFERENCE_SCALE}


def plot(path: Path, sweeps: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draws each score over s_r and over s_y, with its standard error over persons."""
    fixed = {"reference_scale": f"s_y = {TEXT_SCALE:g}", "text_scale": f"s_r = {REFERENCE_SCALE:g}"}
    symbols = {"reference_scale": "s_r", "text_scale": "s_y"}
    with figure_at(path, 9, 3.4) as figure:
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


PART = Part(name="sweeps", asked=asked, measure=measure, pictures=(_PICTURE,))
