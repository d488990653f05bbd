"""Writes drawn clips as a dataset like a user's: MP4 files, photos and a manifest."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
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
# As many photos of one person as there are slots.
_GALLERY = 4


def write_dataset(
    folder: Path,
    num_clips: int,
    seed: int,
    *,
    unseen: bool = False,
    duo_every: int | None = None,
    gallery_every: int | None = None,
    num_processes: int = 1,
) -> Path:
    """Writes `num_clips` clips and their photos; returns the manifest's path.

    The photo's scene differs from the clip's in every attribute, so that a reference has nothing in
    common with its clip but the person. No person comes twice. Each `duo_every`-th clip shows two
    persons and has two photos, the left one's first. Of the others, the first of each
    `gallery_every` clips has four photos, each in a scene of its own; the rest have one. None is no
    such clip, and 1 makes all so. `unseen` takes persons that are kept out of training. Clips that
    are there already are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    casts = _casts(num_clips, seed, unseen=unseen, duo_every=duo_every, gallery_every=gallery_every)
    with ProcessPoolExecutor(num_processes, get_context("spawn")) as pool:
        written = pool.map(partial(_write_cast, folder, seed), casts)
        entries = list(tqdm(written, "clips", total=num_clips, unit="clip"))
    write_text(folder / MANIFEST, "".join(json.dumps(entry) + "\n" for entry in entries))
    return folder / MANIFEST


@dataclass(frozen=True, kw_only=True)
class _Cast:
    """Who is in a clip, one person or two, and how many photos there are of each."""

    numbers: tuple[int, ...]
    num_photos: int


def _casts(
    num_clips: int,
    seed: int,
    *,
    unseen: bool,
    duo_every: int | None,
    gallery_every: int | None,
) -> list[_Cast]:
    numbers = iter(draw_numbers(2 * num_clips, random.Random(seed), unseen=unseen))
    casts = []
    for i in range(num_clips):
        if duo_every is not None and i % duo_every == duo_every - 1:
            casts.append(_Cast(numbers=(next(numbers), next(numbers)), num_photos=1))
            continue
        has_gallery = gallery_every is not None and i % gallery_every == 0
        casts.append(_Cast(numbers=(next(numbers),), num_photos=_GALLERY if has_gallery else 1))
    return casts


def _write_cast(folder: Path, seed: int, cast: _Cast) -> dict[str, Any]:
    if len(cast.numbers) == 2:
        return _write_duo(folder, seed, cast.numbers)
    return _write_single(folder, seed, cast.numbers[0], cast.num_photos)


def _write_single(folder: Path, seed: int, number: int, num_photos: int) -> dict[str, Any]:
    """Draws one person's clip and photos, unless they are there; returns their manifest entry."""
    # Each clip has its own random numbers, so that a larger dataset has the same clips and more.
    rng = random.Random(f"{seed} {number}")
    scene = draw_scene(rng, freedom=CLIP_FREEDOM)
    photo_scenes = [draw_scene(rng, unlike=scene) for _ in range(num_photos)]
    clip = folder / f"{number}.mp4"
    photos = [folder / f"{number}{f'.{i}' if i else ''}.png" for i in range(num_photos)]
    if not photos[-1].is_file():
        person = identity(number)
        pixels = torch.from_numpy(draw_clip(person, scene).pixels)
        drawn = (draw_photo(person, photo_scene) for photo_scene in photo_scenes)
        _write(clip, pixels, dict(zip(photos, drawn, strict=True)))
    names = [photo.name for photo in photos]
    return {
        "video": clip.name,
        "caption": scene.caption,
        **({"reference": names[0]} if num_photos == 1 else {"references": names}),
        "identity": str(number),
    }


def _write_duo(folder: Path, seed: int, numbers: tuple[int, ...]) -> dict[str, Any]:
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
