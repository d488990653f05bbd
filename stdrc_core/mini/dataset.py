"""Drawn clips as a dataset on disk, as a user's would be: MP4 files, photos and a manifest."""

from __future__ import annotations

import json
import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm

from ..files import written_aside
from ..video import write_clip
from .character import draw_numbers, identity
from .drawing import FPS, draw_clip, draw_photo
from .scene import CLIP_FREEDOM, draw_scene

MANIFEST = "manifest.jsonl"


def write_dataset(
    folder: Path, num_clips: int, seed: int, *, unseen: bool = False, num_processes: int = 1
) -> Path:
    """A clip and a photo of each of `num_clips` persons; returns the manifest's path.

    The photo's scene differs from the clip's in every attribute: what a reference has in common
    with its clip is the person alone. Clips that are there already are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = draw_numbers(num_clips, random.Random(seed), unseen=unseen)
    with ProcessPoolExecutor(num_processes, get_context("spawn")) as pool:
        written = pool.map(partial(_write_pair, folder, seed), numbers)
        entries = list(tqdm(written, "clips", total=num_clips, unit="clip"))
    with written_aside(folder / MANIFEST) as aside:
        aside.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder / MANIFEST


def _write_pair(folder: Path, seed: int, number: int) -> dict[str, str]:
    """The manifest's entry of one person, whose clip and photo are then there."""
    # Of its own, so that a larger data set has the same clips.
    rng = random.Random(f"{seed} {number}")
    scene = draw_scene(rng, freedom=CLIP_FREEDOM)
    photo_scene = draw_scene(rng, unlike=scene)
    clip, photo = folder / f"{number}.mp4", folder / f"{number}.png"
    if not photo.is_file():
        person = identity(number)
        write_clip(clip, torch.from_numpy(draw_clip(person, scene).pixels), FPS)
        with written_aside(photo) as aside:
            Image.fromarray(draw_photo(person, photo_scene)).save(aside, format="png")
    return {
        "video": clip.name,
        "caption": scene.caption,
        "reference": photo.name,
        "identity": str(number),
    }
