"""Frames as the face models take them: grey levels, checked at the edge."""

from __future__ import annotations

import torch
from torch import Tensor

from ..reference import MAX_OVERSHOOT

_WHITE_LEVEL = 255


def check_frames(images: Tensor, name: str) -> None:
    """Raises ValueError unless `images` are one or more pictures `[F, h, w, 3 or more]`.

    `name` is the input's name in the message.
    """
    shape = list(images.shape)
    if len(shape) == 4 and shape[0] == 0:
        raise ValueError(
            f"{name} is an empty batch; needs at least one picture: check the node before this one."
        )
    if len(shape) != 4 or shape[-1] < 3 or 0 in shape:
        raise ValueError(
            f"{name} has shape {shape}; needs RGB pictures [frames, height, width, 3]: connect an "
            "IMAGE."
        )


def check_photo(photo: Tensor, name: str) -> None:
    """Raises ValueError unless `photo` is exactly one picture `[1, h, w, 3 or more]`."""
    check_frames(photo, name)
    if len(photo) > 1:
        raise ValueError(
            f"{name} holds {len(photo)} pictures; needs exactly one photo: pick one with "
            "ImageFromBatch."
        )


def grey_levels(images: Tensor, name: str) -> Tensor:
    """`[F, h, w, 3 or more]` in [0, 1] (or uint8) to RGB `[F, h, w, 3]` uint8 on the CPU.

    Raises ValueError for values that are not finite or far from [0, 1].
    """
    images = images[..., :3].detach()
    if images.is_floating_point():
        low, high = images.aminmax()
        # NaN compares as false, so it fails too.
        if not (low >= -MAX_OVERSHOOT and high <= 1 + MAX_OVERSHOOT):
            raise ValueError(
                f"{name} holds values from {low:.4g} to {high:.4g}; needs finite values in [0, 1]: "
                "check the node before this one."
            )
        images = (images.float() * _WHITE_LEVEL).round().clamp(0, _WHITE_LEVEL).to(torch.uint8)
    return images.cpu()
