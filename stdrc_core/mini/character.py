"""The persons of the miniature world: each is a number, which tells all attributes of the face.

Each digit of the number, in the mixed radix of `CHOICES`, chooses one attribute, so that different
numbers are different faces. Where a person is, in what light and what it does is the matter of
`scene`.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

Color = tuple[int, int, int]


class Hair(NamedTuple):
    """A person's hair; `style` is one of `_HAIR_STYLES`."""

    style: str
    color: Color


class Glasses(NamedTuple):
    """A person's glasses; `shape` is `round` or `square`."""

    shape: str
    color: Color


BLACK: Color = (24, 22, 26)
_HAIR_COLORS: tuple[Color, ...] = (
    BLACK,
    (70, 42, 26),
    (126, 78, 40),
    (226, 190, 104),
    (198, 84, 32),
    (150, 150, 154),
    (240, 238, 232),
    (52, 84, 196),
    (226, 92, 160),
    (58, 150, 88),
)
_HAIR_STYLES = ("short", "fringe", "side_part", "long", "curly", "bun", "bob", "mohawk")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What makes a face this person's; lengths are in half-heights of the head."""

    skin: Color
    face_width: float
    jaw: str
    hair: Hair | None
    eye_color: Color
    eye_size: float
    brow_thickness: float
    mouth_width: float
    lip_color: Color
    beard: str
    mark: str
    glasses: Glasses | None


CHOICES: dict[str, tuple[Any, ...]] = {
    "skin": (
        (255, 224, 200),
        (246, 202, 168),
        (232, 180, 140),
        (212, 152, 108),
        (184, 122, 82),
        (150, 96, 62),
        (112, 70, 46),
        (78, 50, 36),
    ),
    "face_width": (0.66, 0.74, 0.82, 0.9),
    "jaw": ("round", "square", "pointed"),
    "hair": (None, *itertools.starmap(Hair, itertools.product(_HAIR_STYLES, _HAIR_COLORS))),
    "eye_color": ((60, 36, 22), (30, 96, 180), (40, 132, 72), (120, 120, 128), (176, 112, 24)),
    "eye_size": (0.1, 0.135, 0.17),
    "brow_thickness": (0.03, 0.06, 0.095),
    "mouth_width": (0.17, 0.24, 0.31),
    "lip_color": ((196, 96, 92), (150, 44, 52), (110, 62, 58)),
    "beard": ("none", "moustache", "goatee", "full"),
    "mark": ("none", "mole_left", "mole_right", "freckles", "scar", "blush"),
    "glasses": (None, Glasses("round", BLACK), Glasses("square", (196, 40, 40))),
}
NUM_IDENTITIES = math.prod(map(len, CHOICES.values()))
assert list(CHOICES) == [field.name for field in fields(Identity)]


def identity(number: int) -> Identity:
    """The person `number` in [0, NUM_IDENTITIES); raises ValueError for another number."""
    if not 0 <= number < NUM_IDENTITIES:
        raise ValueError(f"identity was {number}; needs a number from 0 to {NUM_IDENTITIES - 1}.")
    values = {}
    for name, choices in CHOICES.items():
        number, digit = divmod(number, len(choices))
        values[name] = choices[digit]
    return Identity(**values)


def is_unseen(number: int) -> bool:
    """Whether a person is kept out of all training, as one in ten is, whatever its attributes."""
    return hashlib.blake2b(b"%d" % number, digest_size=4).digest()[0] % 10 == 0


def draw_numbers(count: int, rng: random.Random, *, unseen: bool) -> list[int]:
    """The numbers of `count` different persons: all of them `is_unseen` if `unseen`, else none."""
    numbers: dict[int, None] = {}
    while len(numbers) < count:
        number = rng.randrange(NUM_IDENTITIES)
        if is_unseen(number) is unseen:
            numbers[number] = None
    return list(numbers)


def shaded(color: Color, share: float) -> Color:
    """The color made darker by a `share` below 1, or lighter by one above 1."""
    red, green, blue = (min(255, round(part * share)) for part in color)
    return red, green, blue
