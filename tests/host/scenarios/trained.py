"""Trained weights in ComfyUI's own loaders."""

from __future__ import annotations

import comfy.sd
import comfy.utils
import torch
from scenarios import tokens, world
from torch import Tensor


def _velocity(model, num_frames: int, height: int, width: int) -> dict[str, Tensor]:
    comfy.model_management.load_models_gpu([model], force_full_load=True)
    return tokens.velocity_of(model, num_frames, height, width)


def with_lora(path: str, strength: float) -> dict[str, Tensor]:
    """Core's LoraLoaderModelOnly on the miniature, then our patch."""
    model = world.with_lora(world.mini_model(), path, strength)
    return _velocity(world.patched(model), 3, 3, 4)


def full(path: str) -> dict[str, Tensor]:
    """Core's UNETLoader on exported full weights."""
    model = comfy.sd.load_diffusion_model(path, model_options={"dtype": torch.float32})
    return _velocity(world.patched(model), 3, 3, 4)
