"""The paper's ablation in small, beside the shipped weights and true clips.

Rows are trained on copies (`copies`), each several times from other seeds, and then sample the same
prompts of persons that none of them has seen: with portraits that were taken apart, and with whole
frames of clips in other scenes, the copy test. Base and shipped weights are sampled as often, with
other noise each time, as each training has noise of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from torch import Tensor

from ..faces.caching_finder import CachingFinder
from ..faces.finder import FaceFinder, open_face_pack
from ..generate.pipeline import Pipeline, Shot
from ..mini_build.build import BASE, DATA
from .ablation_section import COPY, PORTRAIT
from .copies import Copied, draw_copied
from .judgement import difference, direction, order
from .models import REFERENCE_SCALE, SHOT, TEXT_SCALE, open_pipeline, round_trip
from .rows import (
    AGAINST_COPYING,
    PAPER_ROWS,
    ROWS,
    SHIPPED_ROW,
    TRAINED,
    Row,
    check_copies,
    num_training_steps,
    opener,
    recipe_digests,
    training_facts,
)
from .scores import Case, draw_cases, likenesses, sample_cases, sample_clips, score_clips
from .second_faces import FOLDER, second_faces, settings_of
from .sheets import compare_rows, two_columns
from .tables import DECODED_CLIPS, TRUE_CLIPS, columns_of, matrix, summary_of
from .workplace import FACE_FILES, FACES, SHIPPED, Part, Workplace

KINDS = (PORTRAIT, COPY)
# What each clip is scored by, beside FaceSim without leak, which is made of these.
_SCORED = ("facesim", "second", "tic", "leak", "caption")
COLUMNS = (*_SCORED, "without_leak")
_ABLATION, _COPIES, _README = "ablation.jpg", "copies.jpg", "miniature.jpg"
# Persons and frames of the pictures.
_SHEET_PERSONS, _SHEET_FRAMES = 6, 2
_README_PERSONS, _README_FRAMES = 8, 5
# Kind -> column -> each person's score.
RowScores = dict[str, dict[str, list[float | None]]]


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that decide the part."""
    own = {"persons": args.num_persons, "persons_seed": args.seed, "steps": args.steps}
    own |= {"trainings": args.num_trainings, "training_steps": num_training_steps(args)}
    own |= {"copies": args.num_copies, "second": settings_of(args), "recipes": recipe_digests()}
    return own | {"bfloat16": args.bfloat16, "compile": args.compile}


def measure(place: Workplace) -> dict[str, Any]:
    """Each row's scores of both kinds of photos, and what is repeated of the paper's order."""
    check_copies(place.args, place.build)
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
        "recipes": list(TRAINED),
        "against_copying": list(AGAINST_COPYING),
        "text_scale": TEXT_SCALE,
        "reference_scale": REFERENCE_SCALE,
    }


class World:
    """The persons, their photos and the judges, which are the same for all rows."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.cases: list[Case] = draw_cases(place.args.num_persons, place.args.seed)
        self.copied: list[Copied] = draw_copied(self.cases, place.args.seed)

    @cached_property
    def second(self) -> FaceFinder:
        """The second recogniser, trained now unless it is there."""
        settings = settings_of(self.place.args)
        folder = second_faces(self.place.out, self.place.build / FACES, settings)
        return CachingFinder(open_face_pack(folder))

    def shot(self, row: Row) -> Shot:
        """How a row is sampled."""
        shot = replace(SHOT, num_steps=self.place.args.steps)
        return shot.guided(text_scale=row.text_scale, reference_scale=row.reference_scale)

    def row(self, row: Row, training: int) -> RowScores:
        """The scores of a row's training, whose number is the noise's seed too."""
        decisive = self._decisive() | training_facts(self.place.args, row)
        decisive |= {"row": dataclasses.asdict(row), "shot": dataclasses.asdict(self.shot(row))}
        make = opener(self.place, row, training)
        name = f"{_file_name(row.name)}_{training}"
        return self.place.keep(
            name,
            decisive,
            lambda: self._sampled(make(), row, training),
            files=(*FACE_FILES, *((BASE, DATA) if row.file is None else (row.file,))),
        )

    def drawn(self) -> dict[str, RowScores]:
        """The scores of true clips, and of true clips through the VAE."""
        files = (*FACE_FILES, BASE)
        return self.place.keep("drawn", self._decisive(), self._drawn, files)

    def score(self, clips: Sequence[Tensor], kind: str) -> dict[str, list[float | None]]:
        """The columns' scores of a clip of each person, for photos of this kind."""
        given = None if kind == PORTRAIT else [each.frame_scene for each in self.copied]
        own = score_clips(clips, self.cases, self.place.faces, self.place.reader, given)
        second = likenesses(clips, [case.photo for case in self.cases], self.second)
        return columns_of(own, [name for name in _SCORED if name != "second"]) | {"second": second}

    def sample(self, pipeline: Pipeline, row: Row, kind: str, noise: int, count: int | None = None):
        """Clips of the first `count` persons, or of all, with photos of this kind."""
        shot = self.shot(row)
        if kind == PORTRAIT:
            return sample_cases(pipeline, self.cases[:count], shot, noise, row.name)
        wanted = [(each.frame, each.case.scene.caption) for each in self.copied[:count]]
        return sample_clips(pipeline, wanted, shot, noise, f"{row.name}, copy test")

    def _sampled(self, pipeline: Pipeline, row: Row, training: int) -> RowScores:
        clips = self.sample(pipeline, row, PORTRAIT, training)
        scores = {PORTRAIT: self.score(clips, PORTRAIT)}
        if row.reference_scale != 0:
            clips = self.sample(pipeline, row, COPY, training)
        return scores | {COPY: self.score(clips, COPY)}

    def _drawn(self) -> dict[str, RowScores]:
        truth = [case.true_clip() for case in self.cases]
        decoded = round_trip(open_pipeline(self.place.build / BASE), truth)
        clips = {TRUE_CLIPS: truth, DECODED_CLIPS: decoded}
        return {
            name: {kind: self.score(own, kind) for kind in KINDS} for name, own in clips.items()
        }

    def _decisive(self) -> dict[str, Any]:
        # Whether the recogniser is made anew is decided by the same settings.
        args = self.place.args
        persons = {"persons": args.num_persons, "persons_seed": args.seed}
        return persons | {FOLDER: settings_of(args)}


def matrices(by_training: Sequence[RowScores]) -> dict[str, dict[str, np.ndarray]]:
    """Kind -> column -> scores `[trainings, persons]`, with FaceSim without leak, which is FaceSim
    x (1 - leak) of each clip."""
    found = {}
    for kind in KINDS:
        own = {name: matrix([each[kind] for each in by_training], name) for name in _SCORED}
        found[kind] = own | {"without_leak": own["facesim"] * (1 - own["leak"])}
    return found


def summaries(values: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, Any]]:
    """Kind -> column -> mean, error over persons and spread over trainings."""
    return {
        kind: {name: summary_of(own) for name, own in columns.items()}
        for kind, columns in values.items()
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
            found = difference(before[column], after[column])
            way = str(direction(found["mean"], found["standard_error"]))
            step[column] = found | {"direction": way}
    return steps


def draw_pictures(world: World) -> None:
    """Draws the pictures of both kinds of photos, of each row's first training, and README's."""
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
    two_columns(
        place.picture(_README),
        [case.photo for case in world.cases[:_README_PERSONS]],
        world.sample(open_row(SHIPPED_ROW), SHIPPED_ROW, PORTRAIT, 0, _README_PERSONS),
        num_frames=_README_FRAMES,
    )


def _file_name(name: str) -> str:
    """A row's name as a file may have it."""
    words = "".join(each if each.isalnum() else " " for each in name.lower()).split()
    return "_".join(words)


PART = Part(
    name="ablation",
    asked=asked,
    measure=measure,
    pictures=(_ABLATION, _COPIES, _README),
    files=(*SHIPPED, BASE, DATA),
)
