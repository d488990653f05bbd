"""What surrounds a person of the miniature world, whoever it is, and what the person does.

The caption tells all of it but the shifts of place and pose, which are tiny in clips.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from .character import Color

COLORS: dict[str, Color] = {
    "red": (200, 48, 44),
    "orange": (236, 138, 40),
    "yellow": (240, 208, 72),
    "green": (70, 158, 80),
    "teal": (52, 164, 168),
    "blue": (58, 98, 200),
    "purple": (128, 74, 176),
    "pink": (238, 150, 184),
    "white": (238, 238, 234),
    "grey": (128, 132, 138),
}
PATTERNS = ("plain", "striped", "dotted", "checked", "hilly")
CLOTHES = ("shirt", "collar", "stripes", "hood")
LIGHTS: dict[str, tuple[float, float, float]] = {
    "bright": (1.0, 1.0, 1.0),
    "dim": (0.76, 0.76, 0.78),
    "warm": (1.0, 0.9, 0.78),
    "cold": (0.84, 0.94, 1.0),
}
# Where the person's middle is, as a share of the frame's width. The places are whole latent cells
# apart, so that what the VAE makes of a person moves with it from cell to cell.
PLACES: dict[str, float] = {"left": 0.25, "middle": 0.5, "right": 0.75}
# The head's half-height, as a share of the frame's height.
SHOTS: dict[str, float] = {"near": 0.28, "far": 0.21}
MOTIONS = (
    "stays still",
    "turns left",
    "turns right",
    "nods slowly",
    "tilts sideways",
    "walks right",
    "comes closer",
    "speaks up",
)


_STILL = "stays still"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A scene, by the names of the tables above; the caption leaves `shift` and `pose` open."""

    background: str
    pattern: str
    clothes_color: str
    clothes: str
    light: str
    place: str
    shot: str
    motion: str
    shift: tuple[float, float] = (0.0, 0.0)
    """How far the person is moved to the right and down, as shares of the frame's side."""
    pose: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Yaw (to the right of the picture), pitch (down) and roll (clockwise), radians."""

    @property
    def caption(self) -> str:
        """What the miniature is prompted with for this scene."""
        return (
            f"a person with {self.clothes_color} {self.clothes}, {self.background} "
            f"{self.pattern} wall, {self.light} light, {self.shot} {self.place}, {self.motion}"
        )


def split_caption(caption: str) -> tuple[str, str] | None:
    """The prompts of a first frame and of the clip that begins with it: the caption with its motion
    made stillness, and the caption itself. None for what is no caption of this world."""
    seen, _, motion = caption.strip().rpartition(", ")
    return (f"{seen}, {_STILL}", caption) if seen and motion in MOTIONS else None


# How far place and pose may be off what the caption tells, in a photo and in a clip.
PHOTO_FREEDOM, CLIP_FREEDOM = 1.0, 0.1

# What the caption tells, and which values each may have.
ATTRIBUTES: dict[str, tuple[Any, ...]] = {
    "background": tuple(COLORS),
    "pattern": PATTERNS,
    "clothes_color": tuple(COLORS),
    "clothes": CLOTHES,
    "light": tuple(LIGHTS),
    "place": tuple(PLACES),
    "shot": tuple(SHOTS),
    "motion": MOTIONS,
}


def draw_scene(
    rng: random.Random, *, unlike: Scene | None = None, freedom: float = PHOTO_FREEDOM
) -> Scene:
    """A random scene, which differs from `unlike`, where it is given, in every attribute.

    `freedom` scales how far place and pose are off what the caption tells.
    """
    told = {}
    for name, values in ATTRIBUTES.items():
        told[name] = rng.choice(
            [value for value in values if unlike is None or value != getattr(unlike, name)]
        )
    *shift, yaw, pitch, roll = (
        freedom * rng.uniform(-most, most) for most in (0.03, 0.03, 0.25, 0.1, 0.08)
    )
    return Scene(**told, shift=tuple(shift), pose=(yaw, pitch, roll))
