"""LTX-2.5's VAE in the host's own loader."""

from __future__ import annotations

import comfy.sd
import comfy.utils
import torch
from torch import Tensor


def knows_the_diffusion_decoder() -> bool:
    try:
        import comfy.ldm.lightricks.vae.na_diffusion_decoder  # noqa: F401
    except ImportError:
        return False
    return True


def encode_and_decode(path: str, pixels: Tensor, latents: Tensor) -> dict[str, Tensor]:
    """`pixels` `[1, F, h, w, 3]` in [0, 1]; what VAELoader's VAE makes of both, in float32."""
    weights, metadata = comfy.utils.load_torch_file(path, return_metadata=True)
    vae = comfy.sd.VAE(sd=weights, metadata=metadata, dtype=torch.float32)
    return {"latents": vae.encode(pixels[0]), "pixels": vae.decode(latents)}
