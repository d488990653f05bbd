"""Drawn clips as a dataset on disk, as a user's would be: MP4 files, photos and a manifest."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm

from ..files import written_aside
from ..video import write_clip
from .character import draw_numbers, identity
from .drawing import FPS, draw_clip, draw_photo
from .scene import draw_scene

MANIFEST = "manifest.jsonl"


def write_dataset(folder: Path, num_clips: int, seed: int, *, unseen: bool = False) -> Path:
    """A clip and a photo of each of `num_clips` persons; returns the manifest's path.

    The photo's scene differs from the clip's in every attribute: what a reference has in common
    with its clip is the person alone. Clips that are there already are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    numbers = draw_numbers(num_clips, random.Random(seed), unseen=unseen)
    for number in tqdm(numbers, "clips", unit="clip"):
        # Of its own, so that a larger data set has the same clips.
        rng = random.Random(f"{seed} {number}")
        scene = draw_scene(rng)
        photo_scene = draw_scene(rng, unlike=scene)
        clip, photo = folder / f"{number}.mp4", folder / f"{number}.png"
        if not photo.is_file():
            person = identity(number)
            write_clip(clip, torch.from_numpy(draw_clip(person, scene).pixels), FPS)
            with written_aside(photo) as partial:
                Image.fromarray(draw_photo(person, photo_scene)).save(partial, format="png")
        entry = {
            "video": clip.name,
            "caption": scene.caption,
            "reference": photo.name,
            "identity": str(number),
        }
        lines.append(json.dumps(entry))
    with written_aside(folder / MANIFEST) as partial:
        partial.write_text("\n".join(lines) + "\n")
    return folder / MANIFEST
