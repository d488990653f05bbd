"""Staged clips against direct ones, and the best of N of both.

Two ways to a clip of an unseen person are compared. Direct clips are made at once from photo and
prompt, and of N clips the one most like the photo is kept. Staged clips are made as `python -m
stdrc_core.generate --staged` makes them: of N first frames the one most like the photo is animated.
One batch of candidates gives the best of 1, 2, 4 and 8, since fewer candidates are the first ones
of more.

The candidates are chosen by the recogniser that then measures them, so that part of what a larger N
gains in FaceSim is that choice. A time is the processor's: one clip's share of sampling its
candidates, of measuring them where there was a choice, and of the animation.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..generate.pipeline import Pipeline, Shot
from ..mini.text import MiniatureText
from .best_of_n import (
    DIRECT,
    NUM_CANDIDATES,
    STAGED,
    Judges,
    Scored,
    StagedScore,
    drawn,
    row_name,
    run,
)
from .judgement import motion_is_like
from .models import SHOT
from .plots import figure_at
from .scores import Case, draw_cases
from .sheets import compare_rows
from .tables import DECODED_CLIPS, TRUE_CLIPS, by_person, mean_and_error, summary
from .workplace import Part, Workplace

_PLOT, _SHEET = "staged.png", "staged.jpg"
_SHEET_PERSONS, _SHEET_FRAMES = 6, 3
# Field of `StagedScore` -> its head in a table.
COLUMNS = {
    "facesim": "FaceSim",
    "first_frame": "FaceSim of the first frame",
    "motion": "motion (face widths a frame)",
    "caption": "caption adherence",
    "time_s": "time (s)",
}


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that decide the part."""
    return {"persons": args.num_persons, "persons_seed": args.seed, "steps": args.steps}


def measure(place: Workplace) -> dict[str, Any]:
    """Means over persons of each row, staged minus direct in pairs, and whether staged clips move
    as true clips do."""
    args = place.args
    shot = replace(SHOT, num_steps=args.steps)
    cases = draw_cases(args.num_persons, args.seed)
    judges = Judges(faces=place.faces, reader=place.reader)
    open_once = cache(lambda: _warm(place.pipeline, cases[0], shot))
    made = []
    for i, case in enumerate(tqdm(cases, "staged and direct", unit="person")):
        own = replace(shot, seed=i * max(NUM_CANDIDATES))
        decisive = _decisive(case, own)
        make = partial(_make, open_once, case, own, judges)
        rows = place.keep(f"person_{i:04}", decisive, make)
        made.append({name: StagedScore(**score) for name, score in rows.items()})
    results = summarize(made)
    shown = cases[:_SHEET_PERSONS]
    compare_rows(
        place.picture(_SHEET),
        [[case.photo] for case in shown],
        [case.scene.caption for case in shown],
        _clips(open_once(), shown, shot, judges),
        num_frames=_SHEET_FRAMES,
    )
    plot(place.picture(_PLOT), results["rows"])
    return results


def summarize(persons: Sequence[Mapping[str, StagedScore]]) -> dict[str, Any]:
    """`rows`, each row's columns; `differences`, staged minus direct of one N in pairs of one
    person; and `motion`, each staged row's motion as a share of true clips', and whether it is
    within the bar.

    `persons` has each person's rows. Figures are means over persons with their standard errors.
    """
    scores = {name: [[person[name] for person in persons]] for name in persons[0]}
    rows = {name: summary(own, COLUMNS) for name, own in scores.items()}
    differences = {}
    for count in NUM_CANDIDATES:
        staged, direct = (scores[row_name(way, count)] for way in (STAGED, DIRECT))
        differences[f"best of {count}"] = {
            column: mean_and_error(by_person(staged, column) - by_person(direct, column))
            for column in COLUMNS
        }
    true_motion = rows[TRUE_CLIPS]["motion"]["mean"]
    motion = {}
    for count in NUM_CANDIDATES:
        own = rows[row_name(STAGED, count)]["motion"]["mean"]
        motion[row_name(STAGED, count)] = {
            "share": own / true_motion,
            "within": motion_is_like(own, true_motion),
        }
    return {"rows": rows, "differences": differences, "motion": motion}


def plot(path: Path, rows: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Draws each column over N in a panel of its own; a dashed line is where a perfect generator
    with this VAE would be."""
    with figure_at(path, 13, 3.2) as figure:
        for axes, (column, label) in zip(
            figure.subplots(1, len(COLUMNS)), COLUMNS.items(), strict=True
        ):
            for way in (DIRECT, STAGED):
                points = [rows[row_name(way, count)][column] for count in NUM_CANDIDATES]
                means, errors = ([p[key] for p in points] for key in ("mean", "standard_error"))
                axes.errorbar(NUM_CANDIDATES, means, errors, label=way, marker=".", capsize=2)
            axes.axhline(rows[DECODED_CLIPS][column]["mean"], color="grey", linestyle="--")
            axes.set_xscale("log", base=2)
            axes.set_xticks(NUM_CANDIDATES, [str(count) for count in NUM_CANDIDATES])
            axes.set(title=label, xlabel="N")
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
        figure.axes[0].legend(fontsize=8)


def _make(open_once, case: Case, shot: Shot, judges: Judges) -> dict[str, dict[str, Any]]:
    """Row -> a person's score as plain values, of sampled and of drawn clips."""
    made = _rows(open_once(), case, shot, judges)
    return {name: dataclasses.asdict(score) for name, (score, _) in made.items()}


def _rows(pipeline: Pipeline, case: Case, shot: Shot, judges: Judges) -> dict[str, Scored]:
    return run(pipeline, case, shot, judges) | drawn(pipeline, case, judges)


def _clips(
    pipeline: Pipeline, cases: Sequence[Case], shot: Shot, judges: Judges
) -> dict[str, list[Any]]:
    """Way -> the clips that it keeps of four candidates, and the true clips."""
    names = (row_name(DIRECT, 4), row_name(STAGED, 4), TRUE_CLIPS)
    shown: dict[str, list[Any]] = {name: [] for name in names}
    for i, case in enumerate(cases):
        rows = _rows(pipeline, case, replace(shot, seed=i * max(NUM_CANDIDATES)), judges)
        for name in names:
            shown[name].append(rows[name][1])
    return shown


def _decisive(case: Case, shot: Shot) -> dict[str, Any]:
    scenes = {name: dataclasses.asdict(getattr(case, name)) for name in ("photo_scene", "scene")}
    person = dataclasses.asdict(case.person)
    return {"person": person, "shot": dataclasses.asdict(shot)} | scenes


def _warm(pipeline: Pipeline, case: Case, shot: Shot) -> Pipeline:
    """The pipeline, after one step: the first run of a network is slower, and times are taken."""
    context = MiniatureText().encode(case.scene.caption)
    pipeline.many([case.photo], context[None], replace(shot, num_steps=1), [0])
    return pipeline


PART = Part(name="staged", asked=asked, measure=measure, pictures=(_PLOT, _SHEET))
