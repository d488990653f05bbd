"""Weights as ComfyUI's own LoRA loader changes them."""

from __future__ import annotations

import comfy.lora
from scenarios import world
from torch import Tensor


def merged(path: str, strength: float) -> dict[str, Tensor]:
    """Each weight of the miniature that a LoRA file changes, in float32, by its name."""
    model = world.with_lora(world.mini_model(), path, strength)
    weights = model.model.state_dict()
    return {
        key: comfy.lora.calculate_weight(patches, weights[key].float().clone(), key)
        for key, patches in model.patches.items()
    }
