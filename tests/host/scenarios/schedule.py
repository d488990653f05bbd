"""LTX's sigmas as the host gives them."""

from __future__ import annotations

import torch
from scenarios import world
from torch import Tensor


def sigmas(num_steps: int, grid: list[int], terminal: float, stretch: bool) -> Tensor:
    """LTXVScheduler for a latent of `grid` = (T, H, W)."""
    (result,) = world.node(
        "LTXVScheduler",
        steps=num_steps,
        latent={"samples": torch.zeros(1, 128, *grid)},
        terminal=terminal,
        stretch=stretch,
    )
    return result
