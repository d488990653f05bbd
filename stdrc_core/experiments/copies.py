"""Copies: clips whose photo is a frame of the clip itself, as the paper's data have them.

The ablation is trained on them, and the copy test asks for another scene than such a photo shows:
what a model then brings along of the photo's scene, it has learned to copy.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from ..files import write_text, written_aside
from ..mini.drawing import FPS, NUM_FRAMES, SIDE_PX, draw_clip
from ..mini.scene import CLIP_FREEDOM, Scene, draw_scene
from ..mini_build.dataset import MANIFEST
from ..text_files import decode_line, read_raw_lines
from ..video import read_clip
from .scores import Case


def write_copies(manifest: Path, folder: Path, num_clips: int, seed: int) -> Path:
    """Writes a manifest of `num_clips` clips of another `manifest`, each with one of its own frames
    as its photo, and returns its path.

    Clips of one person alone are taken, which have a name for the person (`identity`), and one clip
    of each person; there are at least so many. The clips themselves stay where they are. Photos
    that are there already are kept.
    """
    rng = random.Random(seed)
    chosen = rng.sample(single_clips(manifest), num_clips)
    lines = []
    for entry in tqdm(chosen, "copies", unit="clip"):
        number = rng.randrange(NUM_FRAMES)
        video = manifest.parent / entry["video"]
        photo = folder / f"{Path(entry['video']).stem}.png"
        if not photo.is_file():
            _write_frame(video, number, photo)
        lines.append(
            {
                "video": Path(os.path.relpath(video, folder)).as_posix(),
                "caption": entry["caption"],
                "reference": photo.name,
                "identity": entry["identity"],
            }
        )
    write_text(folder / MANIFEST, "".join(json.dumps(line) + "\n" for line in lines))
    return folder / MANIFEST


def single_clips(manifest: Path) -> list[dict[str, Any]]:
    """The lines of a manifest that are of one person with a name, the first of each person."""
    lines = [json.loads(decode_line(line)) for line in read_raw_lines(manifest) if line.strip()]
    first: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line.get("identity") is not None:
            first.setdefault(str(line["identity"]), line)
    return list(first.values())


@dataclass(frozen=True, kw_only=True)
class Copied:
    """A case that is asked for with a frame of a clip in place of the portrait."""

    case: Case
    frame_scene: Scene
    """The scene of that clip, which differs from the case's in every attribute."""
    frame_number: int

    @cached_property
    def frame(self) -> Tensor:
        """The whole frame, `[1, h, w, 3]` in [0, 1]."""
        drawn = draw_clip(self.case.person, self.frame_scene).pixels[self.frame_number]
        return torch.from_numpy(drawn)[None].float() / 255


def draw_copied(cases: Sequence[Case], seed: int) -> list[Copied]:
    """Each case with a frame of a clip in another scene; the same `seed`, the same frames."""
    rng = random.Random(seed)
    return [
        Copied(
            case=case,
            frame_scene=draw_scene(rng, unlike=case.scene, freedom=CLIP_FREEDOM),
            frame_number=rng.randrange(NUM_FRAMES),
        )
        for case in cases
    ]


def _write_frame(video: Path, number: int, photo: Path) -> None:
    clip = read_clip(video, num_frames=NUM_FRAMES, height=SIDE_PX, width=SIDE_PX, fps=FPS)
    with written_aside(photo) as partial:
        Image.fromarray(clip[number].numpy()).save(partial, format="png")
