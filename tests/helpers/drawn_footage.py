"""Raw footage drawn by the miniature world, of which the truth is known: cuts, persons, flaws."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter

from stdrc_core.faces.onnx_finder import open_onnx_pack
from stdrc_core.faces.similarity import largest_embeddings
from stdrc_core.mini.character import draw_numbers, identity
from stdrc_core.mini.drawing import draw_empty, draw_photo, draw_together
from stdrc_core.mini.scene import CLIP_FREEDOM, MOTIONS, Scene, draw_scene
from stdrc_core.mini.shipped import FACES

SIDE = 192
BAR = 22
FADE_S = 0.5
GOOD, BAD = ("good", "letterboxed"), ("small", "blurred", "burnt", "nobody", "two", "short")
RATES = (Fraction(24), Fraction(25), Fraction(30), Fraction(24000, 1001), Fraction(50))
CODECS = {
    "libx264": (".mp4", {"crf": "16", "preset": "veryfast", "g": "48"}),
    "mpeg4": (".mov", {"qscale": "2", "g": "24"}),
    "libvpx-vp9": (".webm", {"crf": "24", "b": "0", "cpu-used": "8", "deadline": "realtime"}),
}
# The cosine of two persons' mean embeddings from which the pack takes them for one.
_TWINS, _NUM_PHOTOS = 0.7, 6
# Whatever moves at all; a person that stays still teaches nothing.
_MOVING = tuple(motion for motion in MOTIONS if motion not in ("stays still", "speaks up"))


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a video between two cuts."""

    kind: str
    people: tuple[int, ...]
    seconds: float
    faded: bool = False
    """Whether it comes out of black and goes into black."""
    still: bool = False
    scene: Scene | None = None
    """What surrounds the person; None draws it."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is true of a part of a video that was written."""

    file: str
    start_s: float
    end_s: float
    part: Part
    lit_start_s: float
    lit_end_s: float
    """From when to when it is not fading."""


def write_video(
    path: Path, parts: Sequence[Part], rng: random.Random, rate: Fraction, codec: str = "libx264"
) -> list[Known]:
    """Writes a video of the parts one after another; returns what is true of each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known, num_frames = [], 0
    options = CODECS[codec][1]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for part in parts:
            begin = num_frames
            for pixels in draw_part(part, rng, float(rate)):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                container.mux(stream.encode(frame))
                num_frames += 1
            start_s, end_s = begin / float(rate), num_frames / float(rate)
            fade_s = FADE_S if part.faded else 0
            known.append(
                Known(
                    file=path.name,
                    start_s=start_s,
                    end_s=end_s,
                    part=part,
                    lit_start_s=start_s + fade_s,
                    lit_end_s=end_s - fade_s,
                )
            )
        container.mux(stream.encode())
    return known


def draw_part(part: Part, rng: random.Random, rate: float) -> Iterator[np.ndarray]:
    """The frames of a part, `[h, w, 3]` uint8: a motion of two seconds, there and back."""
    count = max(2, round(part.seconds * rate))
    frames = [_spoilt(each, part.kind) for each in _drawn(part, rng, min(count, round(2 * rate)))]
    there_and_back = [*frames, *frames[-2:0:-1]]
    fade = max(1, round(FADE_S * rate))
    for i in range(count):
        pixels = there_and_back[i % len(there_and_back)]
        if part.faded:
            share = min(1.0, i / fade, (count - 1 - i) / fade)
            pixels = (pixels * share).astype(np.uint8)
        yield pixels


def _drawn(part: Part, rng: random.Random, count: int) -> np.ndarray:
    scene = part.scene or _any_scene(part, rng)
    if not part.people:
        return np.repeat(draw_empty(scene, SIDE)[None], count, axis=0)
    if len(part.people) == 1:
        cast = [(identity(part.people[0]), scene)]
    else:
        cast = [
            (identity(person), replace(_alike(scene, rng), place=place, shot="far"))
            for person, place in zip(part.people, ("left", "right"), strict=True)
        ]
    return draw_together(cast, count, SIDE)[0].pixels


def _any_scene(part: Part, rng: random.Random) -> Scene:
    scene = draw_scene(rng, freedom=CLIP_FREEDOM)
    motion = "stays still" if part.still else rng.choice(_MOVING)
    light = rng.choice(("bright", "warm", "cold"))
    return replace(scene, motion=motion, light=light)


def _alike(scene: Scene, rng: random.Random) -> Scene:
    other = draw_scene(rng, freedom=CLIP_FREEDOM)
    shared = {name: getattr(scene, name) for name in ("background", "pattern", "light")}
    return replace(other, motion=rng.choice(_MOVING), **shared)


def _spoilt(pixels: np.ndarray, kind: str) -> np.ndarray:
    image = Image.fromarray(pixels)
    match kind:
        case "small":
            # The same room seen from far away: its wall goes on around it.
            small = np.asarray(image.resize((SIDE // 3, SIDE // 3), Image.Resampling.BOX))
            room = np.empty_like(pixels)
            room[:] = pixels[2, 2]
            top = SIDE // 3
            room[top : 2 * top, top : 2 * top] = small
            return room
        case "blurred":
            return np.asarray(image.filter(ImageFilter.GaussianBlur(7)))
        case "burnt":
            return (pixels.astype(np.float32) * 1.5 + 130).clip(0, 255).astype(np.uint8)
        case "letterboxed":
            boxed = pixels.copy()
            boxed[:BAR] = boxed[-BAR:] = 0
            return boxed
    return pixels


def draw_strangers(count: int, rng: random.Random) -> list[int]:
    """Unseen persons whom the miniature's pack can tell apart by photos: of some pairs in a
    thousand it cannot, and no grouping of its embeddings could."""
    finder = open_onnx_pack(FACES)
    people: list[int] = []
    known: list[torch.Tensor] = []
    for number in draw_numbers(2 * count, rng, unseen=True):
        scenes = [draw_scene(rng) for _ in range(_NUM_PHOTOS)]
        photos = np.stack([draw_photo(identity(number), scene) for scene in scenes])
        found = largest_embeddings(torch.from_numpy(photos), finder)
        own = torch.stack([each for each in found if each is not None])
        mean = F.normalize(own.mean(dim=0), dim=0)
        if all(float(mean @ other) < _TWINS for other in known):
            people.append(number)
            known.append(mean)
    return people[:count]


def write_footage(
    folder: Path, num_videos: int, num_persons: int, seconds: float, window_s: float, seed: int = 0
) -> list[Known]:
    """Videos of about `seconds` each, in three codecs and five frame rates.

    Each person comes back in several of them; parts of every kind of badness lie between.
    """
    rng = random.Random(seed)
    people = draw_strangers(num_persons, random.Random(f"{seed} persons"))
    turn = 0
    known = []
    for number in range(num_videos):
        parts: list[Part] = []
        while sum(part.seconds for part in parts) < seconds:
            person = people[turn % len(people)]
            other = people[(turn + 1 + rng.randrange(len(people) - 1)) % len(people)]
            turn += 1
            kind = rng.choice(GOOD)
            long_s = rng.uniform(1.3, 2.6) * window_s
            parts.append(
                Part(kind=kind, people=(person,), seconds=long_s, faded=rng.random() < 0.25)
            )
            if rng.random() < 0.5:
                bad = rng.choice(BAD)
                cast = {"nobody": (), "two": (person, other)}.get(bad, (other,))
                bad_s = 0.5 * window_s if bad == "short" else rng.uniform(1.2, 1.8) * window_s
                parts.append(Part(kind=bad, people=cast, seconds=bad_s))
        codec = list(CODECS)[number % len(CODECS)]
        rate = RATES[number % len(RATES)]
        path = folder / f"take_{number:02d}{CODECS[codec][0]}"
        known += write_video(path, parts, rng, rate, codec)
    return known
