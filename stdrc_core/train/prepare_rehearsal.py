"""`prepare --rehearse`: a clip through the VAE on tensors without numbers, and what that takes.

The text encoder's and the VAE's weights are on the GPU together. What is not run is the text
encoder, whose weights are counted, and the face model, which ONNX Runtime runs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ..ltx.published import open_sizes, sized_vae, text_encoder_bytes
from ..rehearsal.memory_record import GPU, MemoryRecord, fake_gpu
from ..rehearsal.report import as_table, judge, memory_rows
from .prepare import PrepareConfig


def rehearse(
    checkpoint: Path, config: PrepareConfig, dtype: torch.dtype, *, text_there: bool, vram: float
) -> str:
    """Rehearses the encoding of a clip; returns a table with the verdict for `vram` GiB.

    `text_there` says whether the text encoder is on the same GPU. Raises ValueError for a
    checkpoint whose size is not known.
    """
    sizes = open_sizes(checkpoint)
    with fake_gpu(), torch.no_grad():
        vae = sized_vae(sizes, dtype, GPU)
        shape = (1, 3, config.num_frames, config.height, config.width)
        with MemoryRecord() as record:
            record.declare([vae], is_frozen=True)
            vae.encode(torch.zeros(shape, device=GPU))
    text_bytes = text_encoder_bytes(sizes) if text_there else 0
    peak = replace(record.peak(), weights=text_bytes)
    rows = [
        ("clip", f"{config.num_frames} frames of {config.width} x {config.height}"),
        *memory_rows(peak, weights="text encoder", frozen="VAE"),
        ("encoding a clip", f"{record.flops / 1e12:,.1f} TFLOP"),
    ]
    remedies = ["--text-device cpu"] if text_there else []
    remedies += ["fewer --num-frames", "a smaller --height and --width"]
    return f"{as_table(rows)}\n{judge(peak.total, vram, remedies).sentence}"
