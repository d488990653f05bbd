"""Draws single pictures of many persons, and tells where the face is in each."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..mini.character import draw_numbers, identity
from ..mini.drawing import SIDE_PX, draw_clip, draw_empty, draw_together
from ..mini.scene import draw_scene
from .duo import draw_duo


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Pictures of `SIDE_PX` squared with two persons side by side."""

    pixels: Tensor
    """The pictures, `[P, 3, h, w]` uint8."""
    boxes: Tensor
    """The left person's face and the right one's, left, top, right and bottom, `[P, 2, 4]`."""
    landmarks: Tensor
    """The landmarks of both faces in pixels, `[P, 2, 5, 2]`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Portraits:
    """Pictures of `SIDE_PX` squared: each person has `per_person` of them in a row."""

    per_person: int
    pixels: Tensor
    """The pictures, `[N, 3, h, w]` uint8."""
    boxes: Tensor
    """The face's left, top, right and bottom in pixels, `[N, 4]`."""
    landmarks: Tensor
    """The face's landmarks in pixels, `[N, 5, 2]`."""
    empty: Tensor
    """Scenes without a person, `[M, 3, h, w]` uint8."""
    pairs: Pairs
    """Scenes of two persons each."""

    @property
    def num_persons(self) -> int:
        return len(self.pixels) // self.per_person


def draw_portraits(
    num_persons: int,
    per_person: int,
    seed: int,
    *,
    unseen: bool,
    num_empty: int = 0,
    num_pairs: int = 0,
) -> Portraits:
    """Pictures of `num_persons` persons, each in a scene of its own, `num_empty` empty scenes, and
    `num_pairs` scenes of two persons.

    `unseen` takes persons that are kept out of training.
    """
    rng = random.Random(seed)
    drawn = [
        draw_clip(identity(number), draw_scene(rng), num_frames=1)
        for number in tqdm(
            draw_numbers(num_persons, rng, unseen=unseen), "portraits", unit="person"
        )
        for _ in range(per_person)
    ]
    empty = [draw_empty(draw_scene(rng)) for _ in range(num_empty)]
    return Portraits(
        per_person=per_person,
        pixels=_channels_first([each.pixels[0] for each in drawn]),
        boxes=torch.from_numpy(np.stack([each.boxes[0] for each in drawn])),
        landmarks=torch.from_numpy(np.stack([each.landmarks[0] for each in drawn])),
        empty=_channels_first(empty),
        pairs=_draw_pairs(num_pairs, rng, unseen=unseen),
    )


def _draw_pairs(count: int, rng: random.Random, *, unseen: bool) -> Pairs:
    numbers = draw_numbers(2 * count, rng, unseen=unseen)
    boxes, landmarks = np.empty((count, 2, 4), np.float32), np.empty((count, 2, 5, 2), np.float32)
    pixels = []
    for i in range(count):
        duo = draw_duo((identity(numbers[2 * i]), identity(numbers[2 * i + 1])), rng)
        both = draw_together(list(zip(duo.people, duo.scenes, strict=True)), num_frames=1)
        pixels.append(both[0].pixels[0])
        boxes[i] = [each.boxes[0] for each in both]
        landmarks[i] = [each.landmarks[0] for each in both]
    return Pairs(
        pixels=_channels_first(pixels),
        boxes=torch.from_numpy(boxes),
        landmarks=torch.from_numpy(landmarks),
    )


def _channels_first(pictures: list[np.ndarray]) -> Tensor:
    if not pictures:
        return torch.empty(0, 3, SIDE_PX, SIDE_PX, dtype=torch.uint8)
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).contiguous()
