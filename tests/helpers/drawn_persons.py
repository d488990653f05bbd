"""Drawn persons of the miniature, as photos and clips on disk."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from helpers.json_lines import write_json_lines
from stdrc_core.mini.character import draw_numbers, identity
from stdrc_core.mini.drawing import FPS, draw_clip, draw_photo
from stdrc_core.mini.scene import ATTRIBUTES, CLIP_FREEDOM, Scene, draw_scene
from stdrc_core.mini.shipped import FACES
from stdrc_core.video import write_clip

# The last value of every attribute, so that nothing in it is a default.
SCENE = Scene(**{name: values[-1] for name, values in ATTRIBUTES.items()})


def write_photo(path: Path, number: int, scene: Scene = SCENE) -> Path:
    """The person of that number."""
    return write_picture(path, torch.from_numpy(draw_photo(identity(number), scene)))


def write_picture(path: Path, pixels: Tensor) -> Path:
    """`[h, w, 3]`, uint8 or in [0, 1]."""
    if pixels.is_floating_point():
        pixels = (pixels * 255).round().byte()
    Image.fromarray(pixels.numpy()).save(path)
    return path


def read_picture(path: Path) -> np.ndarray:
    """`[h, w, 3]` uint8 RGB."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@dataclass(frozen=True)
class DrawnPersons:
    """`folder` holds the clips `P_0.mp4`, `P_1.mp4` and the photo `P.png` of persons P, pairs in
    `pairs.jsonl`."""

    folder: Path
    pairs: list[dict[str, str]]

    def write_pairs(self, path: Path, pairs: list[dict[str, Any]]) -> Path:
        """Photos by their whole path, since they begin at the pairs file's own folder."""
        whole = [
            {**pair, "reference": str(self.folder / pair["reference"])}
            if "reference" in pair
            else pair
            for pair in pairs
        ]
        return write_json_lines(path, whole)

    def arguments(self, out: Path, **changes: Any) -> list[str]:
        """Of `python -m stdrc_core.evaluate`, for FaceSim-Arc and temporal identity."""
        options = {
            "videos": self.folder,
            "pairs": self.folder / "pairs.jsonl",
            "faces": FACES,
            "out": out,
            "device": "cpu",
        } | changes
        words: list[str] = []
        for name, value in options.items():
            if value is None:
                continue
            values = value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
        return words


def draw_persons(folder: Path, count: int) -> DrawnPersons:
    """Unseen persons with a photo and two clips each, in the order of their numbers."""
    rng = random.Random(11)
    pairs = []
    for place, number in enumerate(draw_numbers(count, rng, unseen=True)):
        photo_scene = draw_scene(rng)
        write_photo(folder / f"{place}.png", number, photo_scene)
        for take in range(2):
            scene = draw_scene(rng, unlike=photo_scene, freedom=CLIP_FREEDOM)
            name = f"{place}_{take}.mp4"
            pixels = torch.from_numpy(draw_clip(identity(number), scene).pixels)
            write_clip(folder / name, pixels, FPS)
            pairs.append({"video": name, "prompt": scene.caption, "reference": f"{place}.png"})
    persons = DrawnPersons(folder, pairs)
    persons.write_pairs(folder / "pairs.jsonl", pairs)
    return persons


# Runs the evaluation on some pairs (all by default) and returns what metrics.json holds.
Evaluate = Callable[..., dict[str, Any]]
