"""Encode Reference Latent in the host."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import comfy.sd
import folder_paths
import nodes
import torch
from comfy.taesd.taehv import TAEHV
from scenarios import world
from torch import Tensor


def photo(image: Tensor, height: int, width: int, **inputs: Any) -> dict[str, Any]:
    """The node on one photo for a video of 2 x `height` x `width`, and the VAE on its preview."""
    vae = VAES[inputs.pop("vae", "convolutional")]()
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


def loaded(path: str, use_mask: bool = True, **inputs: Any) -> dict[str, Any]:
    """The node on what core's Load Image makes of a file."""
    shutil.copy(path, folder_paths.get_input_directory())
    image, mask = nodes.LoadImage().load_image(Path(path).name)[:2]
    return photo(image, **inputs, **({"mask": mask} if use_mask else {})) | {"mask": mask}


@functools.cache
def _diffusion() -> Any:
    """LTX-2.5's VAE with the one-step diffusion decoder, narrow and with random weights."""
    from comfy.ldm.lightricks.vae.na_diffusion_decoder import CausalDiffusionVAE

    blocks = [
        ["compress_space_res", {"multiplier": 2}],
        ["compress_time_res", {"multiplier": 2}],
        ["compress_all_res", {"multiplier": 2}],
        ["compress_all_res", {"multiplier": 1}],
    ]
    config = {
        "_class_name": "CausalDiffusionVAE",
        "encoder": {"blocks": blocks, "base_channels": 16},
        "decoder": {
            "head_dim": 16,
            "stage_channels": [32] * 5,
            "stage_depths": [1] * 5,
            "t_emb_dim": 16,
        },
    }
    generator = torch.Generator().manual_seed(3)
    weights = {
        name: 0.1 * torch.randn(value.shape, generator=generator)
        for name, value in CausalDiffusionVAE(config).state_dict().items()
    }
    return comfy.sd.VAE(sd=weights, metadata={"config": json.dumps({"vae": config})})


@functools.cache
def _preview() -> Any:
    """The tiny autoencoder of LTX-2, which is made for previews."""
    return comfy.sd.VAE(sd=TAEHV(latent_channels=128).state_dict())


VAES = {"convolutional": world.mini_vae, "diffusion": _diffusion, "preview": _preview}


def knows_diffusion_vae() -> bool:
    try:
        import comfy.ldm.lightricks.vae.na_diffusion_decoder  # noqa: F401
    except ImportError:
        return False
    return True


def crops_photos(vae: str) -> bool:
    """Whether the host itself cuts photos to whole steps of this VAE."""
    return VAES[vae]().crop_input
