"""Opens the miniature's networks for the experiments; and the shot that they sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..files import written_aside
from ..generate.pipeline import Pipeline, Shot
from ..ltx.backbone import load_backbone
from ..ltx.checkpoint_files import open_checkpoint
from ..ltx.lora import merge_lora
from ..ltx.lora_file import read_metadata
from ..ltx.reference_layout import LayoutChoice
from ..ltx.vae import load_vae
from ..method.guidance_options import GuidanceOptions
from ..mini.drawing import FPS, NUM_FRAMES, SIDE_PX
from ..mini.text import MiniatureText
from ..mini_build.vae_training import signed
from ..uint8 import to_uint8
from .arguments import NUM_STEPS
from .reader import CaptionReader, train_reader

TEXT_SCALE, REFERENCE_SCALE = 2.0, 4.0
SHOT = Shot(
    num_frames=NUM_FRAMES,
    height=SIDE_PX,
    width=SIDE_PX,
    fps=FPS,
    num_steps=NUM_STEPS,
    guidance=GuidanceOptions(text_scale=TEXT_SCALE, reference_scale=REFERENCE_SCALE),
)
_READER = {"num_clips": 4000, "num_steps": 1200}


def open_pipeline(path: Path) -> Pipeline:
    """A miniature's file, ready to sample.

    The reference stands where the file says that it was trained with it; a file that says nothing
    is taken for one that was trained as in the paper.
    """
    backbone = load_backbone(path, dtype=torch.float32).eval()
    vae, empty = load_vae(path, torch.float32), MiniatureText().encode("")
    layout = LayoutChoice().decide([], open_checkpoint(path).config["transformer"]).layout
    return Pipeline(backbone=backbone, vae=vae, empty_context=empty, layout=layout)


def open_student(path: Path, lora: Path) -> Pipeline:
    """The miniature `path` with the LoRA of a distilled student of it on it.

    Raises ValueError for a LoRA that does not say that it is distilled for one pair of scales.
    """
    decision = LayoutChoice().decide([read_metadata(lora)], {})
    if decision.distilled is None or decision.distilled.has_range:
        raise ValueError(
            f"distilled was {lora}; needs a LoRA that was distilled for a number for each scale: "
            "train one by distil_mini.yaml."
        )
    pipeline = open_pipeline(path)
    merge_lora(pipeline.backbone, lora)
    return replace(pipeline, layout=decision.layout, distilled=decision.distilled)


def open_reader(path: Path, seed: int) -> CaptionReader:
    """The reader of captions that a file holds; where the file is not there, the reader is trained
    first, from `seed`, and written."""
    if path.is_file():
        reader = CaptionReader()
        reader.load_state_dict(torch.load(path, weights_only=True))
        return reader.eval()
    reader = train_reader(**_READER, seed=seed)
    if path.is_file():
        # Another process was faster, and all have to be judged by one reader.
        return open_reader(path, seed)
    with written_aside(path) as partial:
        torch.save(reader.state_dict(), partial)
    return reader


@torch.no_grad()
def round_trip(pipeline: Pipeline, clips: Sequence[Tensor]) -> list[Tensor]:
    """Clips `[F, h, w, 3]` uint8 encoded and decoded by the VAE: the best that can be sampled."""
    decoded = []
    for clip in clips:
        pixels = signed(clip.movedim(-1, 1)[None])
        back = pipeline.vae.decode(pipeline.vae.encode(pixels))
        decoded.append(to_uint8((back[0].movedim(0, -1) + 1) / 2))
    return decoded
