"""Pixels as files and face models hold them: whole numbers from 0 to 255."""

from __future__ import annotations

import torch
from torch import Tensor

_WHITE = 255


def to_uint8(pixels: Tensor) -> Tensor:
    """Returns pixels of any shape as uint8 on the CPU.

    Floating-point values in [0, 1] are scaled to 0..255, rounded and clamped. Pixels that are uint8
    already keep their values.
    """
    if pixels.is_floating_point():
        levels = pixels.detach().float() * _WHITE
        pixels = levels.round().clamp(0, _WHITE).to(torch.uint8)
    return pixels.cpu()
