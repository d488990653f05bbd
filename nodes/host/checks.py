"""What a reference has to be, and the sentence that a user gets when it is not.

Each check raises ValueError with one sentence that names the input, what it was and what to do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def check_reference(reference: Tensor, name: str, num_channels: int) -> None:
    """Raises ValueError unless `reference` is clean latent frames `[K, num_channels, 1, H, W]`.

    They are of K photos; `name` is the input's name in the message.
    """
    if reference.is_nested:
        raise ValueError(
            f"{name} is an audio+video latent; needs the latent of one photo or more: make it with "
            "Encode Reference Latent."
        )
    shape = list(reference.shape)
    if len(shape) != 5 or shape[2] != 1 or 0 in shape:
        raise ValueError(
            f"{name} has shape {shape}; needs the latent of one photo or more, one frame each, "
            f"[K, {num_channels}, 1, H, W]: make it with Encode Reference Latent."
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


def check_video(video_shape: torch.Size, num_channels: int) -> None:
    """Raises ValueError unless `latent_image` is a video latent `[B, num_channels, T, H, W]`."""
    shape = list(video_shape)
    if len(shape) != 5 or shape[1] != num_channels:
        raise ValueError(
            f"latent_image has shape {shape}; the model needs a video latent "
            f"[B, {num_channels}, T, H, W]: make it with EmptyLTXVLatentVideo."
        )


def check_whole_frame(conds: dict[str, list[dict[str, Any]]]) -> None:
    """Raises ValueError where one of the host's conditionings, by stream, has an area.

    The host gives every stream the areas of the others, and a part of the frame has no room for a
    reference of the whole.
    """
    for stream, members in conds.items():
        if any(cond.get("area") is not None for cond in members):
            raise ValueError(
                f"{stream} has a conditioning with an area; beside a reference it needs to be for "
                "the whole frame: use Conditioning (Set Mask) instead of Conditioning (Set Area)."
            )


def check_references(
    references: list[Tensor], stream: str, video_shape: torch.Size, *, have_own_size: bool = False
) -> None:
    """Checks what a conditioning of `stream` carries against a video `[B, C, T, H, W]`.

    References of the video's size, but where they `have_own_size`: our guider's input, or what
    core's ReferenceLatent nodes put into a prompt.
    """
    name = "reference"
    if not stream.startswith(name):
        name = f"the reference (ReferenceLatent) of the {stream} conditioning"
    for reference in references:
        check_reference(reference, name, video_shape[1])
        size, video_size = list(reference.shape[-2:]), list(video_shape[-2:])
        if size != video_size and not have_own_size:
            raise ValueError(
                f"{name} is {size[0]} x {size[1]} latent pixels (height x width), latent_image is "
                f"{video_size[0]} x {video_size[1]}; needs the same size: connect this "
                "latent_image to the latent input of Encode Reference Latent."
            )
