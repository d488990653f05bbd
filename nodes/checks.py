"""What a reference has to be, and the sentence that a user gets when it is not.

Each check raises ValueError with one sentence that names the input, what it was and what to do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# The name our guider gives its conditioning of text and reference among the host's streams.
REFERENCE_STREAM = "reference"


def check_reference(reference: Tensor, name: str, num_channels: int) -> None:
    """Raises ValueError unless `reference` is one clean latent frame `[1, num_channels, 1, H, W]`.

    `name` is the input's name in the message.
    """
    shape = list(reference.shape)
    if len(shape) != 5 or shape[0] != 1 or shape[2] != 1 or 0 in shape:
        raise ValueError(
            f"{name} has shape {shape}; needs the latent of exactly one photo, "
            f"[1, {num_channels}, 1, H, W]: make it with Encode Reference Latent."
        )
    if shape[1] != num_channels:
        raise ValueError(
            f"{name} has {shape[1]} channels; the model works on {num_channels}: encode the photo "
            "with the VAE that belongs to the model."
        )
    check_finite(reference, name)


def check_finite(latent: Tensor, name: str) -> None:
    if not torch.isfinite(latent).all():
        raise ValueError(
            f"{name} holds NaN or infinite values; needs finite ones: make it again, and check the "
            "node that it comes from."
        )


def check_conditioning(
    cond: dict[str, Any], references: list[Tensor], video_shape: torch.Size, stream: str
) -> None:
    """Checks the `references` of one of the host's conditionings against the video to sample.

    `video_shape` is `[B, C, T, H, W]`; `stream` is the conditioning's name in its guider.
    """
    # Our guider's own input, or what core's ReferenceLatent node put into a prompt.
    name = f"the reference (ReferenceLatent) of the {stream} conditioning"
    if stream == REFERENCE_STREAM:
        name = "reference"
    if cond.get("area") is not None:
        raise ValueError(
            f"{name} stands in a conditioning with an area; needs one for the whole frame: use "
            "Conditioning (Set Mask) instead of Conditioning (Set Area)."
        )
    if len(references) > 1:
        raise ValueError(
            f"{name} holds {len(references)} latents; one reference is supported: remove the other "
            "ReferenceLatent nodes."
        )
    (reference,) = references
    if len(video_shape) != 5:
        raise ValueError(
            f"latent_image has shape {list(video_shape)}; needs a video latent [B, C, T, H, W]: "
            "make it with EmptyLTXVLatentVideo."
        )
    check_reference(reference, name, video_shape[1])
    size, video_size = list(reference.shape[-2:]), list(video_shape[-2:])
    if size != video_size:
        raise ValueError(
            f"{name} is {size[0]} x {size[1]} latent pixels (height x width), latent_image is "
            f"{video_size[0]} x {video_size[1]}; needs the same size: connect this latent_image to "
            "the latent input of Encode Reference Latent."
        )
