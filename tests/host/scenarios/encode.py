"""Encode Reference Latent in the host."""

from __future__ import annotations

from typing import Any

from scenarios import world
from torch import Tensor


def photo(image: Tensor, height: int, width: int, **inputs: Any) -> dict[str, Any]:
    """The node on one photo for a video of 2 x `height` x `width`, and the VAE on its preview."""
    vae = world.mini_vae()
    reference, preview = world.node(
        "STDRCEncodeReference",
        image=image,
        vae=vae,
        latent=world.empty_video(2, height, width),
        **inputs,
    )
    return {
        "reference": reference["samples"],
        "preview": preview,
        "preview_encoded": vae.encode(preview),
    }
