"""Writes drawn clips as a dataset like a user's: MP4 files, photos and a manifest."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from ..files import write_text, written_aside
from ..mini.character import draw_numbers, identity
from ..mini.drawing import FPS, draw_clip, draw_photo
from ..mini.scene import CLIP_FREEDOM, draw_scene
from ..uint8 import to_uint8
from ..video import write_clip
from .duo import draw_duo

MANIFEST = "manifest.jsonl"
_SIDES = ("left", "right")


def write_dataset(
    folder: Path,
    num_clips: int,
    seed: int,
    *,
    unseen: bool = False,
    in_twos: bool = False,
    num_processes: int = 1,
) -> Path:
    """Writes `num_clips` clips and their photos; returns the manifest's path.

    The photo's scene differs from the clip's in every attribute, so that a reference has nothing in
    common with its clip but the person. No person comes twice. With `in_twos` each clip shows two
    persons and has two photos, the left one's first. `unseen` takes persons that are kept out of
    training. Clips that are there already are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cast, write = (2, _write_duo) if in_twos else (1, _write_single)
    numbers = draw_numbers(cast * num_clips, random.Random(seed), unseen=unseen)
    casts = [numbers[i : i + cast] for i in range(0, len(numbers), cast)]
    with ProcessPoolExecutor(num_processes, get_context("spawn")) as pool:
        written = pool.map(partial(write, folder, seed), casts)
        entries = list(tqdm(written, "clips", total=num_clips, unit="clip"))
    write_text(folder / MANIFEST, "".join(json.dumps(entry) + "\n" for entry in entries))
    return folder / MANIFEST


def _write_single(folder: Path, seed: int, numbers: list[int]) -> dict[str, Any]:
    """Draws one person's clip and photo, unless they are there; returns their manifest entry."""
    (number,) = numbers
    # Each clip has its own random numbers, so that a larger dataset has the same clips and more.
    rng = random.Random(f"{seed} {number}")
    scene = draw_scene(rng, freedom=CLIP_FREEDOM)
    photo_scene = draw_scene(rng, unlike=scene)
    clip, photo = folder / f"{number}.mp4", folder / f"{number}.png"
    if not photo.is_file():
        person = identity(number)
        pixels = torch.from_numpy(draw_clip(person, scene).pixels)
        _write(clip, pixels, {photo: draw_photo(person, photo_scene)})
    return {
        "video": clip.name,
        "caption": scene.caption,
        "reference": photo.name,
        "identity": str(number),
    }


def _write_duo(folder: Path, seed: int, numbers: list[int]) -> dict[str, Any]:
    """Draws two persons' clip and photos, unless they are there; returns their manifest entry."""
    left, right = numbers
    duo = draw_duo((identity(left), identity(right)), random.Random(f"{seed} {left} {right}"))
    name = f"{left}_{right}"
    clip, photos = folder / f"{name}.mp4", [folder / f"{name}.{side}.png" for side in _SIDES]
    if not photos[-1].is_file():
        pixels = (to_uint8(photo)[0].numpy() for photo in duo.photos)
        _write(clip, duo.true_clip(), dict(zip(photos, pixels, strict=True)))
    return {
        "video": clip.name,
        "caption": duo.caption,
        "references": [photo.name for photo in photos],
    }


def _write(clip: Path, pixels: Tensor, photos: Mapping[Path, np.ndarray]) -> None:
    """Writes the clip, then the photos, the last of which says that all is there."""
    write_clip(clip, pixels, FPS)
    for path, photo in photos.items():
        with written_aside(path) as aside:
            Image.fromarray(photo).save(aside, format="png")
