"""Likeness over long clips, which are made of windows, with and without the reference.

The miniature was trained with clips of 17 frames. A long clip is made in windows of so many, and
the photo stands at its own place in each of them. Its drift (`faces.drift`) is measured with the
photo, and with the clip's own first window: without a reference a clip has no likeness to lose, but
may turn into somebody else all the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..faces.drift import measure_drift
from ..faces.finder import FaceFinder
from ..faces.similarity import cosines, largest_embeddings, largest_faces
from ..generate.pipeline import Shot
from ..method.identity import mean_direction
from ..mini.drawing import NUM_FRAMES
from ..mini.text import MiniatureText
from ..uint8 import to_uint8
from .judgement import difference
from .models import SHOT
from .plots import figure_at
from .scores import Case, draw_cases
from .tables import mean_and_error
from .workplace import Part, Workplace

_PICTURE = "drift.png"
WITH, WITHOUT = "with the reference", "without"
# What a clip's faces are compared with.
PHOTO, START = "photo", "start"
_OVERLAP = 8
# A point of the plot is the mean over so many frames.
_FRAMES_A_POINT = 8


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that decide the part."""
    own = {"persons": args.num_drifting, "persons_seed": args.seed + 4, "steps": args.steps}
    return own | {"frames": args.drift_frames, "window": NUM_FRAMES, "overlap": _OVERLAP}


def measure(place: Workplace) -> dict[str, Any]:
    """For each way, the slopes over persons and the mean cosines over frames; and the difference of
    both ways in pairs."""
    args = place.args
    cases = draw_cases(args.num_drifting, args.seed + 4)
    window = {"window": NUM_FRAMES, "window_overlap": _OVERLAP}
    shot = replace(SHOT, num_steps=args.steps, num_frames=args.drift_frames, **window)
    shots = {WITH: shot, WITHOUT: shot.guided(reference_scale=0.0)}
    curves: dict[str, dict[str, list[list[float | None]]]] = {
        way: {PHOTO: [], START: []} for way in shots
    }
    for i, case in enumerate(tqdm(cases, "long clips", unit="person")):
        for way, own in shots.items():

            def score(case: Case = case, own: Shot = own, seed: int = i) -> dict[str, Any]:
                context = MiniatureText().encode(case.scene.caption)
                clip = to_uint8(place.pipeline(case.photo, context, replace(own, seed=seed)))
                return frame_curves(clip, case, place.faces)

            decisive = asked(args) | {"shot": dataclasses.asdict(own)}
            found = place.keep(f"person_{i:04}_{way.replace(' ', '_')}", decisive, score)
            for against, values in found.items():
                curves[way][against].append(values)
    results = summarize(curves)
    plot(place.picture(_PICTURE), results)
    return results


def frame_curves(clip: Tensor, case: Case, faces: FaceFinder) -> dict[str, list[float | None]]:
    """The cosines of a clip's frames `[F, h, w, 3]` uint8 with the photo and with the mean of its
    own first window; None for a frame without a face."""
    (e_ref,) = largest_embeddings(to_uint8(case.photo), faces)
    found = largest_faces(clip, faces)
    first = [each.embedding for each in found[:NUM_FRAMES] if each is not None]
    own: list[float | None] = [None] * len(found)
    if first:
        own = cosines(found, mean_direction(torch.stack(first)))
    return {PHOTO: cosines(found, e_ref), START: own}


def summarize(
    curves: Mapping[str, Mapping[str, Sequence[Sequence[float | None]]]],
) -> dict[str, Any]:
    """`ways`: for each way and comparison the mean `cosine`, the `slope` over 100 frames with its
    direction, and the `curve` of points; `difference`: with minus without, in pairs of one person.

    `curves` has, for each way and comparison, the cosines of each person's frames. The slope of the
    cosines with the clip's own start leaves that start out, which is like itself.
    """
    ways: dict[str, dict[str, Any]] = {}
    slopes: dict[tuple[str, str], np.ndarray] = {}
    for way, by_comparison in curves.items():
        ways[way] = {}
        for against, persons in by_comparison.items():
            begin = NUM_FRAMES if against == START else 0
            own = np.array([_slope(values, begin) for values in persons])
            slopes[way, against] = own
            values = np.array(persons, dtype=float)
            ways[way][against] = {
                "cosine": mean_and_error(_means(values[:, begin:])),
                "slope": difference(np.zeros((1, len(own))), own[None]),
                "curve": _points(values),
            }
    differences = {
        against: difference(slopes[WITHOUT, against][None], slopes[WITH, against][None])
        for against in (PHOTO, START)
    }
    return {"ways": ways, "difference": differences}


def plot(path: Path, results: Mapping[str, Any]) -> None:
    """Draws the mean cosines over frames, with and without the reference."""
    titles = {PHOTO: "cosine with the photo", START: "cosine with the clip's first window"}
    with figure_at(path, 9, 3.4) as figure:
        for axes, (against, title) in zip(
            figure.subplots(1, 2, sharey=True), titles.items(), strict=True
        ):
            for way, own in results["ways"].items():
                curve = own[against]["curve"]
                frames, means = ([point[key] for point in curve] for key in ("frame", "mean"))
                errors = [point["standard_error"] for point in curve]
                axes.errorbar(frames, means, errors, label=way, marker=".", capsize=2)
            axes.set(xlabel="frame", title=title)
            axes.grid(alpha=0.3)
        figure.axes[0].legend(fontsize=8)


def _slope(values: Sequence[float | None], begin: int) -> float:
    drift = measure_drift(range(begin, len(values)), values[begin:])
    return math.nan if drift is None else drift.slope


def _means(values: np.ndarray) -> np.ndarray:
    """Each person's mean of `[P, F]`, without the frames that are NaN; NaN where all are."""
    return np.array(
        [own[~np.isnan(own)].mean() if (~np.isnan(own)).any() else math.nan for own in values]
    )


def _points(values: np.ndarray) -> list[dict[str, float]]:
    """The middle `frame` of each stretch of `[P, F]`, and the mean over persons with its error."""
    points = []
    for start in range(0, values.shape[1], _FRAMES_A_POINT):
        stretch = values[:, start : start + _FRAMES_A_POINT]
        middle = start + (stretch.shape[1] - 1) / 2
        points.append({"frame": middle} | mean_and_error(_means(stretch)))
    return points


PART = Part(name="drift", asked=asked, measure=measure, pictures=(_PICTURE,))
