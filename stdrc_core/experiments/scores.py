"""Scores of sampled clips of unseen persons: FaceSim, TIC, leaks of the photo, and the caption."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..faces.finder import FaceFinder
from ..faces.similarity import (
    clip_tic,
    cosines,
    facesim,
    largest_embeddings,
    largest_faces,
    spread,
)
from ..generate.pipeline import Pipeline, Shot
from ..mini.character import Identity, draw_numbers, identity
from ..mini.drawing import draw_clip, draw_photo
from ..mini.scene import ATTRIBUTES, CLIP_FREEDOM, Scene, draw_scene
from ..mini.text import MiniatureText
from ..uint8 import to_uint8
from .reader import CaptionReader

# How many frames are searched for faces: the 16 of FaceSim, of a clip's 17, would measure hardly
# better and take twice as long.
NUM_SCORED_FRAMES = 8
# How many clips are sampled side by side.
# Seeds are so far apart that this many persons have noise of their own.
_SEEDS_APART = 100_000
BATCH_SIZE = 25


@dataclass(frozen=True, kw_only=True)
class Case:
    """A person to be sampled, and what the clip is asked to show."""

    person: Identity
    photo_scene: Scene
    """The scene of the photo, which differs from `scene` in every attribute."""
    scene: Scene
    """The scene that the prompt asks for."""

    @cached_property
    def photo(self) -> Tensor:
        """The photo, `[1, h, w, 3]` in [0, 1]."""
        return torch.from_numpy(draw_photo(self.person, self.photo_scene))[None].float() / 255

    def true_clip(self) -> Tensor:
        """A clip that a perfect generator might make, `[F, h, w, 3]` uint8."""
        return torch.from_numpy(draw_clip(self.person, self.scene).pixels)


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one clip scores."""

    facesim: float
    """FaceSim with the photo, 0 to 1."""
    tic: float | None
    """Temporal identity consistency (Eq. 10), 0 to 1; None without a face."""
    leak: float
    """The share of the background's attributes that are read as the photo's."""
    caption: float
    """The share of the caption's attributes that are read back."""


# Field of `Score` -> its head in a table.
COLUMNS = {
    "facesim": "FaceSim",
    "tic": "TIC",
    "leak": "background leak",
    "caption": "caption adherence",
}
_BACKGROUND = ("background", "pattern")


def draw_cases(count: int, seed: int) -> list[Case]:
    """`count` unseen persons, each with a photo and a prompt; the same `seed`, the same cases."""
    rng = random.Random(seed)
    cases = []
    for number in draw_numbers(count, rng, unseen=True):
        scene = draw_scene(rng, freedom=CLIP_FREEDOM)
        photo_scene = draw_scene(rng, unlike=scene)
        cases.append(Case(person=identity(number), photo_scene=photo_scene, scene=scene))
    return cases


def sample_cases(
    pipeline: Pipeline,
    cases: Sequence[Case],
    shot: Shot,
    seed: int,
    name: str = "clips",
    first: int = 0,
) -> list[Tensor]:
    """A clip `[F, h, w, 3]` uint8 for each case, as `sample_clips` makes them."""
    asked = [(case.photo, case.scene.caption) for case in cases]
    return sample_clips(pipeline, asked, shot, seed, name, first)


def sample_clips(
    pipeline: Pipeline,
    asked: Sequence[tuple[Tensor | Sequence[Tensor], str]],
    shot: Shot,
    seed: int,
    name: str = "clips",
    first: int = 0,
) -> list[Tensor]:
    """A clip `[F, h, w, 3]` uint8 for each of `asked`, a pair of its photo or photos, as
    `Pipeline.many` takes them, and its caption; its noise depends on `seed` and on its place.

    `name` is shown on the progress bar. `first` is the place of the first of `asked` among the
    persons of a part that asks for them batch by batch.
    """
    text = MiniatureText()
    clips: list[Tensor] = []
    for start in tqdm(range(0, len(asked), BATCH_SIZE), name, unit="batch"):
        photos, captions = zip(*asked[start : start + BATCH_SIZE], strict=True)
        contexts = torch.stack([text.encode(caption) for caption in captions])
        seeds = [seed * _SEEDS_APART + first + start + i for i in range(len(photos))]
        clips += to_uint8(pipeline.many(photos, contexts, shot, seeds)).unbind()
    return clips


def score_clips(
    clips: Sequence[Tensor],
    cases: Sequence[Case],
    faces: FaceFinder,
    reader: CaptionReader,
    given: Sequence[Scene] | None = None,
) -> list[Score]:
    """The score of each clip `[F, h, w, 3]` uint8 against its case.

    `given` are the scenes of the photos that the clips were made of, where these are not the cases'
    own: what leaks is theirs, and FaceSim is with the cases' photos all the same.
    """
    if given is None:
        given = [case.photo_scene for case in cases]
    scores = []
    for clip, case, given_scene in zip(clips, cases, given, strict=True):
        (e_ref,) = largest_embeddings(to_uint8(case.photo), faces)
        found = largest_faces(clip[spread(len(clip), NUM_SCORED_FRAMES)], faces)
        (read,) = reader.read(clip[None])
        scores.append(
            Score(
                facesim=facesim(cosines(found, e_ref)),
                tic=clip_tic(found),
                leak=_share(read, given_scene, _BACKGROUND),
                caption=_share(read, case.scene, tuple(ATTRIBUTES)),
            )
        )
    return scores


def likenesses(clips: Sequence[Tensor], photos: Sequence[Tensor], faces: FaceFinder) -> list[float]:
    """FaceSim of each clip `[F, h, w, 3]` uint8 with its photo `[1, h, w, 3]` in [0, 1], of the
    frames that `score_clips` looks at."""
    found = []
    for clip, photo in zip(clips, photos, strict=True):
        (e_ref,) = largest_embeddings(to_uint8(photo), faces)
        scored = clip[spread(len(clip), NUM_SCORED_FRAMES)]
        found.append(facesim(cosines(largest_faces(scored, faces), e_ref)))
    return found


def _share(read: dict[str, str], scene: Scene, names: Sequence[str]) -> float:
    return float(np.mean([read[name] == getattr(scene, name) for name in names]))
