"""Two persons of the miniature world in one frame, one at the left and one at the right."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..mini.character import Identity, draw_numbers, identity
from ..mini.drawing import draw_photo, draw_together
from ..mini.scene import CLIP_FREEDOM, Scene, draw_scene

# The first person stands at the left and the second at the right, both small enough to fit.
_PLACES, _SHOT = ("left", "right"), "far"
# The attributes that both scenes share.
_SURROUNDINGS = ("background", "pattern", "light")


@dataclass(frozen=True, kw_only=True)
class Duo:
    """Two persons in one clip, the left one first, and a photo of each.

    Each has a scene of its own, with the same wall and light; its photo's scene differs from it in
    every attribute.
    """

    people: tuple[Identity, Identity]
    scenes: tuple[Scene, Scene]
    photo_scenes: tuple[Scene, Scene]

    @property
    def caption(self) -> str:
        """The caption of the left person as if alone, and then what is told of the right one."""
        left, right = self.scenes
        return (
            f"{left.caption}, beside a person with {right.clothes_color} {right.clothes}, "
            f"{right.shot} {right.place}, {right.motion}"
        )

    @cached_property
    def photos(self) -> tuple[Tensor, ...]:
        """The photos of the left person and of the right one, `[1, h, w, 3]` in [0, 1]."""
        drawn = (draw_photo(*each) for each in zip(self.people, self.photo_scenes, strict=True))
        return tuple(torch.from_numpy(photo)[None].float() / 255 for photo in drawn)

    def true_clip(self) -> Tensor:
        """A clip that a perfect generator might make, `[F, h, w, 3]` uint8."""
        drawn = draw_together(list(zip(self.people, self.scenes, strict=True)))
        return torch.from_numpy(drawn[0].pixels)


def draw_duo(people: tuple[Identity, Identity], rng: random.Random) -> Duo:
    """The two persons in random scenes."""
    left, right = (
        replace(draw_scene(rng, freedom=CLIP_FREEDOM), place=place, shot=_SHOT) for place in _PLACES
    )
    right = replace(right, **{name: getattr(left, name) for name in _SURROUNDINGS})
    photo_scenes = (draw_scene(rng, unlike=left), draw_scene(rng, unlike=right))
    return Duo(people=people, scenes=(left, right), photo_scenes=photo_scenes)


def draw_duos(count: int, seed: int) -> list[Duo]:
    """`count` pairs of unseen persons in random scenes; no person comes twice."""
    rng = random.Random(seed)
    numbers = draw_numbers(2 * count, rng, unseen=True)
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return [draw_duo((identity(left), identity(right)), rng) for left, right in pairs]
