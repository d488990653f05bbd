"""A LoRA of one layer of the miniature, under whatever name a public adapter has."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from stdrc_core.mini.config import VIDEO_DIM


def write_tiny_lora(path: Path, value: float = 0.01) -> Path:
    """Both halves are `value` throughout."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = "diffusion_model.transformer_blocks.0.attn1.to_q"
    halves = {"lora_A": torch.ones(4, VIDEO_DIM), "lora_B": torch.ones(VIDEO_DIM, 4)}
    save_file({f"{key}.{half}.weight": value * each for half, each in halves.items()}, path)
    return path
