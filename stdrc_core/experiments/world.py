"""Rows of weights on the same persons: their clips of both kinds of photos, and the scores of them.

Each row samples the same prompts of persons that no training has seen: with portraits that were
taken apart, and with whole frames of clips in other scenes, the copy test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..faces.caching_finder import CachingFinder
from ..faces.finder import FaceFinder, open_face_pack
from ..files import sha256_of
from ..generate.pipeline import Pipeline, Shot
from ..mini_build.build import BASE, DATA
from ..mini_build.face_pack import RECOGNIZER_FILE
from .ablation_section import COPY, PORTRAIT
from .copies import Copied, draw_copied
from .models import SHOT, open_pipeline, round_trip
from .rows import Row, opener, training_facts
from .scores import Case, draw_cases, likenesses, sample_cases, sample_clips, score_clips
from .second_faces import FOLDER, second_faces, settings_of
from .tables import DECODED_CLIPS, TRUE_CLIPS, columns_of, matrix, summary_of
from .workplace import FACE_FILES, FACES, Workplace

KINDS = (PORTRAIT, COPY)
# What each clip is scored by, beside FaceSim without leak, which is made of these.
_SCORED = ("facesim", "second", "tic", "leak", "caption")
# The part whose pieces hold what needs no training of its own; the ablation shows them too.
_UNTRAINED = "shipped"
# Kind -> column -> each person's score.
RowScores = dict[str, dict[str, list[float | None]]]


class World:
    """The persons, their photos and the judges, which are the same for all rows.

    What needs no training is kept once, for the part `shipped` and for the ablation.
    """

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.cases: list[Case] = draw_cases(place.args.num_persons, place.args.seed)
        self.copied: list[Copied] = draw_copied(self.cases, place.args.seed)

    @cached_property
    def second_folder(self) -> Path:
        """The pack of the second recogniser, which is trained now unless it is there."""
        settings = settings_of(self.place.args)
        return second_faces(self.place.out, self.place.build / FACES, settings)

    @cached_property
    def second(self) -> FaceFinder:
        """The second recogniser."""
        return CachingFinder(open_face_pack(self.second_folder))

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
            part=None if row.file is None else _UNTRAINED,
        )

    def drawn(self) -> dict[str, RowScores]:
        """The scores of true clips, and of true clips through the VAE."""
        files = (*FACE_FILES, BASE)
        return self.place.keep("drawn", self._decisive(), self._drawn, files, part=_UNTRAINED)

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
        args = self.place.args
        persons = {"persons": args.num_persons, "persons_seed": args.seed}
        return persons | {FOLDER: sha256_of(self.second_folder / RECOGNIZER_FILE)}


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


def _file_name(name: str) -> str:
    """A row's name as a file may have it."""
    words = "".join(each if each.isalnum() else " " for each in name.lower()).split()
    return "_".join(words)
