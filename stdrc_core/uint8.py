"""Pixels as files and face models hold them: 256 levels."""

from __future__ import annotations

import torch
from torch import Tensor

_WHITE = 255


def to_uint8(pixels: Tensor) -> Tensor:
    """Values in [0, 1], or uint8, of any shape, to uint8 on the CPU; clamped."""
    if pixels.is_floating_point():
        levels = pixels.detach().float() * _WHITE
        pixels = levels.round().clamp(0, _WHITE).to(torch.uint8)
    return pixels.cpu()
