"""Draws single pictures of many persons, and tells where the face is in each."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..mini.character import draw_numbers, identity
from ..mini.drawing import SIDE_PX, draw_clip, draw_empty
from ..mini.scene import draw_scene


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

    @property
    def num_persons(self) -> int:
        return len(self.pixels) // self.per_person


def draw_portraits(
    num_persons: int, per_person: int, seed: int, *, unseen: bool, num_empty: int = 0
) -> Portraits:
    """Pictures of `num_persons` persons, each in a scene of its own, and `num_empty` empty scenes.

    `unseen` takes persons that are kept out of training.
    """
    rng = random.Random(seed)
    pixels, boxes, landmarks = [], [], []
    for number in tqdm(draw_numbers(num_persons, rng, unseen=unseen), "portraits", unit="person"):
        for _ in range(per_person):
            drawn = draw_clip(identity(number), draw_scene(rng), num_frames=1)
            pixels.append(drawn.pixels[0])
            boxes.append(drawn.boxes[0])
            landmarks.append(drawn.landmarks[0])
    empty = [draw_empty(draw_scene(rng)) for _ in range(num_empty)]
    return Portraits(
        per_person=per_person,
        pixels=_channels_first(pixels),
        boxes=torch.from_numpy(np.stack(boxes)),
        landmarks=torch.from_numpy(np.stack(landmarks)),
        empty=_channels_first(empty),
    )


def _channels_first(pictures: list[np.ndarray]) -> Tensor:
    if not pictures:
        return torch.empty(0, 3, SIDE_PX, SIDE_PX, dtype=torch.uint8)
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).contiguous()
