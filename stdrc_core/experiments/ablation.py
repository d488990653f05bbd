"""The paper's ablation in small, beside the shipped weights and true clips.

Rows are trained on copies (`copies`), each several times from other seeds, and then sample the same
persons' prompts (`world`). Base and shipped weights are sampled as often, with other noise each
time, as each training has noise of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from ..mini_build.build import BASE, DATA
from .ablation_section import COPY, PORTRAIT
from .judgement import difference, order
from .models import REFERENCE_SCALE, TEXT_SCALE
from .rows import (
    AGAINST_COPYING,
    PAPER_ROWS,
    ROWS,
    TRAINED,
    check_copies,
    num_clips,
    num_training_steps,
    opener,
    recipe_digests,
)
from .second_faces import settings_of
from .sheets import compare_rows
from .tables import DECODED_CLIPS, TRUE_CLIPS
from .workplace import SHIPPED, Part, Workplace
from .world import KINDS, RowScores, World, matrices, summaries

_ABLATION, _COPIES = "ablation.jpg", "copies.jpg"
# Persons and frames of the pictures.
_SHEET_PERSONS, _SHEET_FRAMES = 6, 2


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that decide the part."""
    own = {"persons": args.num_persons, "persons_seed": args.seed, "steps": args.steps}
    own |= {"trainings": args.num_trainings, "training_steps": num_training_steps(args)}
    own |= {"copies": args.num_copies, "second": settings_of(args), "recipes": recipe_digests()}
    return own | {"bfloat16": args.bfloat16, "compile": args.compile}


def measure(place: Workplace) -> dict[str, Any]:
    """Each row's scores of both kinds of photos, and what is repeated of the paper's order."""
    world = World(place)
    kept: dict[str, list[RowScores]] = {}
    # What needs no training comes first, so that a stopped run has it.
    for row in sorted(ROWS, key=lambda row: row.recipe is not None):
        kept[row.name] = [world.row(row, training) for training in range(place.args.num_trainings)]
    drawn = world.drawn()
    kept |= {name: [drawn[name]] for name in (TRUE_CLIPS, DECODED_CLIPS)}
    names = [row.name for row in ROWS] + [TRUE_CLIPS, DECODED_CLIPS]
    values = {name: matrices(kept[name]) for name in names}
    draw_pictures(world)
    return {
        "rows": {name: summaries(values[name]) for name in names},
        "order": {kind: paper_order(values, kind) for kind in KINDS},
        "trainings": place.args.num_trainings,
        "clips": num_clips(place),
        "recipes": list(TRAINED),
        "against_copying": list(AGAINST_COPYING),
        "text_scale": TEXT_SCALE,
        "reference_scale": REFERENCE_SCALE,
    }


def paper_order(
    values: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]], kind: str
) -> list[dict[str, Any]]:
    """Each step of the paper's order with its verdict, in FaceSim for portraits and in FaceSim
    without leak for the copy test; and beside it what FaceSim and leak do."""
    names = [row.name for row in PAPER_ROWS]
    judged = "facesim" if kind == PORTRAIT else "without_leak"
    steps = order(names, [values[name][kind][judged] for name in names])
    for step in steps:
        before, after = (values[step[key]][kind] for key in ("from", "to"))
        for column in ("facesim", "leak"):
            step[column] = difference(before[column], after[column])
    return steps


def draw_pictures(world: World) -> None:
    """Draws the pictures of both kinds of photos, of each row's first training."""
    place, shown = world.place, world.cases[:_SHEET_PERSONS]
    open_row = cache(lambda row: opener(place, row, 0)())
    photos = {
        PORTRAIT: [[case.photo] for case in shown],
        COPY: [[each.frame] for each in world.copied[:_SHEET_PERSONS]],
    }
    for kind, name in ((PORTRAIT, _ABLATION), (COPY, _COPIES)):
        compare_rows(
            place.picture(name),
            photos[kind],
            [case.scene.caption for case in shown],
            {row.name: world.sample(open_row(row), row, kind, 0, _SHEET_PERSONS) for row in ROWS},
            num_frames=_SHEET_FRAMES,
        )


PART = Part(
    name="ablation",
    asked=asked,
    measure=measure,
    pictures=(_ABLATION, _COPIES),
    files=(*SHIPPED, BASE, DATA),
    check=check_copies,
)
