"""Exported weights sampled in the host: core's loader and sampler, our nodes, a photo."""

from __future__ import annotations

import comfy.sd
import torch
from scenarios import world
from torch import Tensor


def sample(
    path: str,
    photo: Tensor,
    prompt: str,
    noise: Tensor,
    num_steps: int,
    text_scale: float,
    reference_scale: float,
) -> dict[str, Tensor]:
    """The latent `[1, C, T, H, W]` that `noise` becomes, and the sigmas on the way."""
    _, _, num_frames, height, width = noise.shape
    model = comfy.sd.load_diffusion_model(path, model_options={"dtype": torch.float32})
    video = world.empty_video(num_frames, height, width)
    (reference,) = world.node(
        "STDRCEncodeReference", image=photo, vae=world.mini_vae(), latent=video
    )[:1]
    guider = world.three_streams(
        world.patched(model),
        reference["samples"],
        positive=world.conditioning(prompt),
        negative=world.conditioning(""),
        text_scale=text_scale,
        reference_scale=reference_scale,
    )
    sigmas = world.node("LTXVScheduler", steps=num_steps, latent=video)[0]
    output, _ = world.node(
        "SamplerCustomAdvanced",
        noise=world.FixedNoise(noise),
        guider=guider,
        sampler=world.sampler("euler"),
        sigmas=sigmas,
        latent_image=video,
    )
    return {"latent": output["samples"], "sigmas": sigmas}
