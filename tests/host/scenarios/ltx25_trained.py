"""LTX-2.5 with a LoRA of the trainer's, sampled by the host from its split files."""

from __future__ import annotations

import comfy.sd
import torch
from scenarios import ltx25_text, world
from torch import Tensor


def sample(
    transformer: str,
    text_encoder: str,
    lora: str,
    text: str,
    reference: Tensor,
    num_frames: int,
    steps: int,
    seed: int,
    frame_rate: float,
) -> dict[str, Tensor]:
    """The latent that the three streams end at, with the LoRA at 1 and at 0."""
    height, width = reference.shape[-2:]
    base = comfy.sd.load_diffusion_model(transformer, model_options={"dtype": torch.float32})
    conditionings = []
    for each in (text, ""):
        cond = ltx25_text.conditioning(text_encoder, each)
        conditionings.append(
            world.node("LTXVConditioning", positive=cond, negative=cond, frame_rate=frame_rate)[0]
        )
    positive, negative = conditionings
    found = {}
    for strength in (1.0, 0.0):
        model = world.patched(world.with_lora(base, lora, strength))
        guider = world.three_streams(
            model, {"samples": reference}, positive=positive, negative=negative
        )
        video = world.empty_video(num_frames, height, width)
        found[f"{strength:g}"] = world.run_guider(guider, video, steps, seed)
    return found
