"""The models that the command line names, opened."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..faces.finder import FaceFinder, open_face_pack
from ..ltx.backbone import load_backbone
from ..ltx.checkpoint_files import open_checkpoint
from ..ltx.lora import lora_facts, merge_lora
from ..ltx.trained_for import TrainedFor, from_settings
from ..ltx.vae import load_vae
from ..method.layout import Placement
from ..mini.shipped import CHECKPOINT, FACES
from ..mini.text import MINIATURE
from .pipeline import Pipeline

log = logging.getLogger(__name__)


def name_models(args: argparse.Namespace) -> None:
    """Fills in what was not named: the shipped miniature, with its own prompts.

    Raises ValueError for a checkpoint without a text encoder.
    """
    if args.checkpoint is None:
        args.checkpoint, args.text_encoder = CHECKPOINT, args.text_encoder or MINIATURE
        log.info(
            "the shipped miniature: it knows its own drawn characters only, and no real person"
        )
    if args.text_encoder is None:
        raise ValueError(
            f"text encoder for {args.checkpoint} is missing; needs what embeds its prompts: give "
            f"--text-encoder, the folder of Gemma 3 12B (or {MINIATURE!r} for a miniature)."
        )


def read_facts(args: argparse.Namespace) -> TrainedFor | None:
    """What the weights say that they were trained for: the LoRA's word before the checkpoint's."""
    facts = None if args.lora is None else lora_facts(args.lora)
    return facts or from_settings(open_checkpoint(args.checkpoint).config.get("transformer", {}))


def load_pipeline(
    args: argparse.Namespace, facts: TrainedFor | None, device: torch.device, empty: Tensor
) -> Pipeline:
    on_gpu = device.type == "cuda"
    if args.offload and not on_gpu:
        raise ValueError(f"offload was asked for on {device}; it needs a GPU: leave it out.")
    dtype = torch.bfloat16 if on_gpu else torch.float32
    home = torch.device("cpu") if args.offload else device
    backbone = load_backbone(args.checkpoint, dtype=dtype, device=home).eval()
    if args.lora is not None:
        merge_lora(backbone, args.lora)
    if args.offload:
        from diffusers.hooks import apply_group_offloading

        apply_group_offloading(
            backbone.transformer,
            onload_device=device,
            offload_device=home,
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=True,
        )
    return Pipeline(
        backbone=backbone,
        vae=load_vae(args.vae or args.checkpoint, dtype).to(device),
        empty_context=empty.to(device),
        **_placing(args, facts),
    )


def _placing(args: argparse.Namespace, facts: TrainedFor | None) -> dict[str, Any]:
    """Where the reference stands: what was asked, else what the weights say, else the paper's."""
    if facts is None:
        log.warning(
            "the weights do not say that they were trained for ST-DRC: likeness cannot be expected"
        )
        return {"placement": args.placement or Placement.TASS}
    if args.placement not in (None, facts.placement):
        log.warning(
            "placement was %s; the weights were trained for %s", args.placement, facts.placement
        )
    return {
        "placement": args.placement or facts.placement,
        "reference_timestep": facts.reference_timestep,
    }


def faces_folder(args: argparse.Namespace) -> Path | None:
    """The face pack that was named, or the miniature's."""
    return args.faces or (FACES if args.text_encoder == MINIATURE else None)


def open_faces(args: argparse.Namespace, device: torch.device) -> FaceFinder | None:
    """What measures FaceSim; none for real weights where no face pack is named."""
    folder = faces_folder(args)
    if folder is None:
        log.info("no face pack was named (--faces): FaceSim is not measured")
        return None
    return open_face_pack(folder, device)
