"""Opens the models that the command line names, and decides where references stand in them."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..device import default_device, open_device
from ..faces.finder import FaceFinder, open_face_pack
from ..ltx.adapters import known_by_name
from ..ltx.backbone import load_backbone
from ..ltx.distilled import UNDISTILLED
from ..ltx.file_versions import require_same_version
from ..ltx.guidance_embedding import GuidanceEmbedding, read_guidance_embedding
from ..ltx.layout_of_files import decide_for_files
from ..ltx.lora import merge_lora
from ..ltx.lora_file import read_metadata
from ..ltx.offload import offload_blocks
from ..ltx.reference_layout import Decision, LayoutChoice
from ..ltx.vae import load_vae, require_vae
from ..mini.shipped import CHECKPOINT, FACES, ONE_PASS_LORA
from ..mini.text import MINIATURE
from .jobs import Job
from .pipeline import Pipeline

log = logging.getLogger(__name__)


def name_models(args: argparse.Namespace) -> None:
    """Puts the shipped miniature and its text encoder into `args` if no checkpoint is named.

    With the preset one-pass and without a LoRA, the miniature's own distilled LoRA is put there
    too. Raises ValueError if that is not there, and if a checkpoint is named and no text encoder.
    """
    if args.checkpoint is None:
        args.checkpoint, args.text_encoder = CHECKPOINT, args.text_encoder or MINIATURE
        log.info(
            "the shipped miniature: it knows its own drawn characters only, and no real person"
        )
        if args.preset == "one-pass" and not args.lora:
            args.lora = [_own_lora()]
    if args.text_encoder is None:
        raise ValueError(
            f"text encoder for {args.checkpoint} is missing; needs what embeds its prompts: give "
            f"--text-encoder, the folder of Gemma 3 12B or LTX-2.5's file of Gemma 4 (or "
            f"{MINIATURE!r} for a miniature)."
        )


def _own_lora() -> Path:
    """Returns the LoRA that makes one pass of the miniature; ValueError where it is not there."""
    if not ONE_PASS_LORA.is_file():
        raise ValueError(
            f"preset was one-pass, and the miniature's own LoRA for it, {ONE_PASS_LORA}, is not "
            "there; needs it: get this project's files again, or leave the preset out."
        )
    return ONE_PASS_LORA


def open_devices(args: argparse.Namespace) -> tuple[torch.device, torch.device]:
    """Opens the device that samples, and the one that the text encoder runs on.

    Where the transformer is offloaded, the GPU has no room for Gemma either, so that it runs on the
    CPU if no other is named. Raises ValueError for a device that cannot be used, and for offloading
    without a GPU.
    """
    device = open_device(args.device or default_device())
    if args.offload and device.type != "cuda":
        raise ValueError(f"offload was asked for on {device}; it needs a GPU: leave it out.")
    if args.text_device is not None:
        return device, open_device(args.text_device)
    return device, torch.device("cpu") if args.offload else device


def decide_layout(args: argparse.Namespace) -> Decision:
    """Decides where references stand, and with which scales to begin, as the nodes decide it.

    The log tells of a LoRA, and of weights that were trained for something else, another version of
    LTX too, or do not say what for. Raises ValueError for a checkpoint or LoRA that cannot be read,
    where there is no VAE or one of another version of LTX, and for an adapter that needs what only
    the nodes do.
    """
    require_same_version(args.checkpoint, args.vae)
    require_vae(args.vae or args.checkpoint)
    decision = decide_for_files(
        args.checkpoint,
        args.lora,
        placement=args.placement,
        reference_timestep=args.reference_timestep,
        adapter=None if args.adapter is None else known_by_name(args.adapter),
    )
    if decision.adapter is not None and decision.follows and decision.adapter.held_frames:
        raise ValueError(
            f"LoRA {_listed(args.lora)} is {decision.adapter.name}, which was trained with photos "
            "that are held for several frames, and the command line does not hold them: use "
            "ComfyUI's nodes."
        )
    if not decision.is_known:
        log.warning(
            "the weights do not say that they were trained for ST-DRC: likeness cannot be expected"
        )
    if decision.is_doubtful:
        log.warning("%s", decision.sentence)
    elif decision.is_known and args.lora:
        log.info("%s", decision.sentence)
    return decision


def decide_by_loras(args: argparse.Namespace) -> Decision:
    """Decides by those LoRAs that are there, for a rehearsal, which needs no file.

    Raises ValueError for a LoRA that cannot be read.
    """
    there = [path for path in args.lora[::-1] if path.is_file()]
    return LayoutChoice().decide([read_metadata(path) for path in there], {})


def load_pipeline(
    args: argparse.Namespace, decision: Decision, device: torch.device, empty: Tensor
) -> Pipeline:
    """Loads the models onto `device`, ready to sample; `empty` `[L, D]` embeds the empty prompt.

    On a GPU they compute in bfloat16, else in float32. Raises ValueError for files that cannot be
    used.
    """
    distilled = decision.distilled
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if on_gpu else torch.float32
    home = torch.device("cpu") if args.offload else device
    has_range = distilled is not None and distilled.has_range
    embedding = _embedding(args.lora) if has_range else None
    backbone = load_backbone(args.checkpoint, dtype=dtype, device=home).eval()
    for lora in args.lora:
        merge_lora(backbone, lora, device=device)
    if embedding is not None:
        backbone.guidance_embedding = embedding.to(device)
    if args.offload:
        offload_blocks(backbone.transformer, device)
    return Pipeline(
        backbone=backbone,
        vae=load_vae(args.vae or args.checkpoint, dtype).to(device),
        empty_context=empty.to(device),
        layout=decision.layout,
        distilled=distilled,
        begin_scales=tuple(
            1.0 if scale is None else scale
            for scale in (decision.text_scale, decision.reference_scale)
        ),
    )


def _embedding(loras: Sequence[Path]) -> GuidanceEmbedding:
    """Reads the embedding of the last LoRA whose scales are an input; ValueError where there is
    none."""
    embedding = next(filter(None, map(read_guidance_embedding, loras[::-1])), None)
    if embedding is None:
        raise ValueError(
            f"LoRA {_listed(loras)} is distilled for a range of scales and has no embedding of "
            "them; needs it: export the weights again."
        )
    return embedding


def _listed(loras: Sequence[Path]) -> str:
    return " or ".join(map(str, loras))


def warn_of_scales(args: argparse.Namespace, decision: Decision, jobs: Sequence[Job]) -> None:
    """Tells the log, once for each, of scales and a preset that the weights are not made for.

    Raises ValueError for curves of weights that are told their scales.
    """
    if decision.distilled is None:
        if args.preset == "one-pass":
            log.warning("%s", UNDISTILLED)
        return
    for job in jobs:
        decision.distilled.in_one_pass(job.shot.guidance, (1.0, 1.0))
    doubts = (decision.distilled.doubt(job.shot.guidance) for job in jobs)
    for doubt in dict.fromkeys(filter(None, doubts)):
        log.warning("%s", doubt)


def faces_folder(args: argparse.Namespace) -> Path | None:
    """Returns the folder of the face pack that was named, or else of the miniature's own."""
    return args.faces or (FACES if args.text_encoder == MINIATURE else None)


def open_faces(args: argparse.Namespace, device: torch.device) -> FaceFinder | None:
    """Opens the face pack that FaceSim is measured with; None for real weights without one."""
    folder = faces_folder(args)
    if folder is None:
        log.info("no face pack was named (--faces): FaceSim is not measured")
        return None
    return open_face_pack(folder, device)
