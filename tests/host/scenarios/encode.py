"""Encode Reference Latent in the host."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import folder_paths
import nodes
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


def loaded(path: str, use_mask: bool = True, **inputs: Any) -> dict[str, Any]:
    """The node on what core's Load Image makes of a file."""
    shutil.copy(path, folder_paths.get_input_directory())
    image, mask = nodes.LoadImage().load_image(Path(path).name)[:2]
    return photo(image, **inputs, **({"mask": mask} if use_mask else {})) | {"mask": mask}
