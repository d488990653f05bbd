"""Likeness with one, two, three and four photos of a person in other poses."""

from __future__ import annotations

import argparse
import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..faces.finder import FaceFinder
from ..faces.gallery import GalleryRule, gallery_embedding
from ..faces.similarity import cosines, facesim, largest_embeddings, largest_faces, spread
from ..mini.character import Identity, draw_numbers, identity
from ..mini.drawing import draw_clip, draw_photo
from ..mini.scene import CLIP_FREEDOM, Scene, draw_scene
from ..uint8 import to_uint8
from .judgement import difference
from .models import SHOT
from .plots import figure_at
from .scores import NUM_SCORED_FRAMES, sample_clips
from .sheets import compare_rows
from .tables import TRUE_CLIPS, columns_of, matrix, over_persons, summary_of
from .workplace import Part, Workplace

MOST_PHOTOS, _NUM_GALLERY = 4, 4
COUNTS = tuple(range(1, MOST_PHOTOS + 1))
_PLOT, _SHEET = "photos.png", "photos.jpg"
_SHEET_PERSONS, _SHEET_FRAMES = 6, 2
COLUMNS = {
    "gallery": "FaceSim with other photos",
    "first": "FaceSim with the first photo",
}


@dataclass(frozen=True, kw_only=True)
class Album:
    """A person, photos of whom are given and others of whom judge, and the scene asked for.

    All photos are of other scenes, which differ from the asked one in every attribute, and of other
    poses.
    """

    person: Identity
    scene: Scene
    given: tuple[Tensor, ...]
    """Four photos, `[1, h, w, 3]` in [0, 1]; the model is given the first ones of them."""
    others: tuple[Tensor, ...]
    """Photos that the model is never given, of the same shape."""

    def true_clip(self) -> Tensor:
        """A clip that a perfect generator might make, `[F, h, w, 3]` uint8."""
        return torch.from_numpy(draw_clip(self.person, self.scene).pixels)


@dataclass(frozen=True, kw_only=True)
class AlbumScore:
    """FaceSim of one clip, 0 to 1."""

    gallery: float
    """With the mean embedding of photos that were not given."""
    first: float
    """With the first photo, which always was given."""


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that decide the part."""
    own = {"persons": args.num_persons, "persons_seed": args.seed + 2, "steps": args.steps}
    return own | {"seeds": args.num_few_seeds}


def measure(place: Workplace) -> dict[str, Any]:
    """Number of photos -> its scores; and each number's gain over the one before, in pairs."""
    args = place.args
    albums = draw_albums(args.num_persons, args.seed + 2)
    shot = replace(SHOT, num_steps=args.steps)
    decisive = asked(args) | {"shot": dataclasses.asdict(shot)}

    def sample(count: int, seed: int, chosen: Sequence[Album]) -> list[Tensor]:
        wanted = [(album.given[:count], album.scene.caption) for album in chosen]
        return sample_clips(place.pipeline, wanted, shot, seed, f"{count} photos")

    rows = {}
    for count in COUNTS:

        def score(seed: int, count: int = count) -> dict[str, list[float | None]]:
            clips = sample(count, seed, albums)
            return columns_of(score_albums(clips, albums, place.faces), COLUMNS)

        kept = place.keep_seeds(f"photos_{count}", decisive, args.num_few_seeds, score)
        rows[count] = {column: matrix(kept, column) for column in COLUMNS}
    truth = columns_of(
        score_albums([album.true_clip() for album in albums], albums, place.faces), COLUMNS
    )
    shown = albums[:_SHEET_PERSONS]
    compare_rows(
        place.picture(_SHEET),
        [album.given for album in shown],
        [album.scene.caption for album in shown],
        {f"{count} given": sample(count, 0, shown) for count in COUNTS},
        num_frames=_SHEET_FRAMES,
    )
    results = {
        "rows": {
            str(count): {column: summary_of(values) for column, values in row.items()}
            for count, row in rows.items()
        },
        TRUE_CLIPS: {column: summary_of(matrix([truth], column)) for column in COLUMNS},
        "gains": [
            {"from": before, "to": after}
            | {column: gain(rows[before][column], rows[after][column]) for column in COLUMNS}
            for before, after in ((1, 2), (2, 3), (3, 4), (1, MOST_PHOTOS))
        ],
    }
    _plot(place, results)
    return results


def draw_albums(count: int, seed: int) -> list[Album]:
    """`count` unseen persons with four photos that are given and four others; the same `seed`, the
    same albums."""
    rng = random.Random(seed)
    albums = []
    for number in draw_numbers(count, rng, unseen=True):
        person, scene = identity(number), draw_scene(rng, freedom=CLIP_FREEDOM)
        photos = []
        for _ in range(MOST_PHOTOS + _NUM_GALLERY):
            drawn = draw_photo(person, draw_scene(rng, unlike=scene))
            photos.append(torch.from_numpy(drawn)[None].float() / 255)
        given, others = tuple(photos[:MOST_PHOTOS]), tuple(photos[MOST_PHOTOS:])
        albums.append(Album(person=person, scene=scene, given=given, others=others))
    return albums


def score_albums(
    clips: Sequence[Tensor], albums: Sequence[Album], faces: FaceFinder
) -> list[AlbumScore]:
    """The score of each clip `[F, h, w, 3]` uint8 against its person's photos."""
    scores = []
    for clip, album in zip(clips, albums, strict=True):
        found = largest_faces(clip[spread(len(clip), NUM_SCORED_FRAMES)], faces)
        photos = torch.cat([to_uint8(photo) for photo in (album.given[0], *album.others)])
        first, *others = largest_embeddings(photos, faces)
        known = [embedding for embedding in others if embedding is not None]
        gallery = gallery_embedding(known, GalleryRule.MEAN)
        scores.append(
            AlbumScore(
                gallery=facesim(cosines(found, gallery)), first=facesim(cosines(found, first))
            )
        )
    return scores


def gain(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """What a row `[seeds, persons]` has more than the one before, in pairs of one person."""
    return difference(over_persons(before)[None], over_persons(after)[None])


def _plot(place: Workplace, results: dict[str, Any]) -> None:
    with figure_at(place.picture(_PLOT), 5.5, 3.4) as figure:
        axes = figure.subplots()
        for column, label in COLUMNS.items():
            points = [results["rows"][str(count)][column] for count in COUNTS]
            means, errors = ([p[key] for p in points] for key in ("mean", "standard_error"))
            axes.errorbar(COUNTS, means, errors, label=label, marker=".", capsize=2)
        axes.set_xticks(COUNTS)
        axes.set(xlabel="photos given", ylabel="FaceSim")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)


PART = Part(name="photos", asked=asked, measure=measure, pictures=(_PLOT, _SHEET))
