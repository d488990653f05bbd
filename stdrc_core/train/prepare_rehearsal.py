"""`prepare --rehearse`: a clip through the VAE on tensors without numbers, and what that takes.

The VAE's weights are on the GPU, and beside them the text encoder's, unless it is elsewhere. What
is not run is the text encoder, whose weights are counted, and the face model, which ONNX Runtime
runs.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from ..ltx.published import Sizes, open_sizes, sized_vae, text_encoder_bytes
from ..rehearsal.memory_record import GPU, MemoryRecord, Peak, fake_gpu
from ..rehearsal.report import as_table, gib, judge, memory_rows
from .prepare_config import PrepareConfig

# Decoded clips, three bytes a pixel, that all stages have in memory together, at most.
_CLIPS_IN_MEMORY = 10


def rehearse(args: argparse.Namespace, config: PrepareConfig) -> str:
    """Rehearses the encoding of a clip; returns a table with the verdict for `args.vram` GiB.

    Raises ValueError for a checkpoint or a VAE whose size is not known.
    """
    sizes = open_sizes(args.checkpoint)
    vae_sizes = sizes if args.vae is None else open_sizes(args.vae)
    peak, flops = encode_clip(vae_sizes, getattr(torch, args.vae_dtype or "bfloat16"), config)
    is_int8 = args.text_quantization == "int8"
    text_bytes = text_encoder_bytes(sizes, is_int8=is_int8)
    is_beside = _is_beside_the_vae(args)
    if is_beside:
        peak = replace(peak, weights=text_bytes)
    host_bytes = _CLIPS_IN_MEMORY * 3 * config.num_frames * config.height * config.width
    host_bytes += 0 if is_beside else text_bytes
    kept = f"decoded clips{'' if is_beside else ' and text encoder'}"
    rows = [
        ("clip", f"{config.num_frames} frames of {config.width} x {config.height}"),
        *memory_rows(peak, weights="text encoder", frozen="VAE"),
        ("host memory", f"{gib(host_bytes)} of {kept} beside the process itself"),
        ("encoding a clip", f"{flops / 1e12:,.1f} TFLOP"),
    ]
    remedies = ["--text-device cpu"] if is_beside else []
    remedies += ["--text-quantization int8"] if is_beside and not is_int8 else []
    remedies += ["fewer --num-frames", "a smaller --height and --width"]
    return f"{as_table(rows)}\n{judge(peak.total, args.vram, remedies).sentence}"


def encode_clip(sizes: Sizes, dtype: torch.dtype, config: PrepareConfig) -> tuple[Peak, int]:
    """Returns what a GPU holds at most, VAE and clip, and the operations."""
    with fake_gpu(), torch.no_grad():
        vae = sized_vae(sizes, dtype, GPU)
        with MemoryRecord() as record:
            record.declare([vae], is_frozen=True)
            vae.encode(
                torch.zeros(1, 3, config.num_frames, config.height, config.width, device=GPU)
            )
    return record.peak(), record.flops


def _is_beside_the_vae(args: argparse.Namespace) -> bool:
    """Whether the text encoder is on the GPU that the VAE is on.

    A GPU is rehearsed whatever the device, so that --device may be the CPU of a machine without.
    """
    if args.text_device is None:
        return True
    return args.text_device != "cpu" and args.device in (None, "cpu", args.text_device)
