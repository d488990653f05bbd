"""Checks pictures that come from users, and turns them into the uint8 that face models take."""

from __future__ import annotations

import torch
from torch import Tensor

from ..method.reference import BLACK, MAX_OVERSHOOT, over_color
from ..uint8 import to_uint8

# The most that one side may be of the other. A longer frame would have no pixel of width left when
# it is scaled into the detector's smallest input.
_MAX_ASPECT = 32


def check_images(images: Tensor, name: str) -> None:
    """Raises ValueError unless `images` are one or more pictures `[F, h, w, 3 or more]`.

    `name` is what the message calls the input.
    """
    shape = list(images.shape)
    if len(shape) == 4 and shape[0] == 0:
        raise ValueError(
            f"{_is(name)} an empty batch; needs at least one picture: check the node before this "
            "one."
        )
    if len(shape) != 4 or shape[-1] < 3 or 0 in shape:
        raise ValueError(
            f"{name} of shape {shape} cannot be used; needs RGB pictures [frames, height, width, "
            "3]: connect an IMAGE."
        )
    check_aspect(*shape[1:3], name)


def check_photo(photo: Tensor, name: str) -> None:
    """Raises ValueError unless `photo` is exactly one picture `[1, h, w, 3 or more]`.

    `name` is what the message calls the input.
    """
    check_images(photo, name)
    if len(photo) > 1:
        raise ValueError(
            f"{name} is a batch of {len(photo)} pictures; needs exactly one photo: pick one with "
            "ImageFromBatch."
        )


def check_aspect(height: int, width: int, name: str) -> None:
    """Raises ValueError for frames with a side more than 32 times as long as the other.

    `name` is what the message calls the frames.
    """
    if max(height, width) > _MAX_ASPECT * min(height, width):
        raise ValueError(
            f"{_were(name)} {height} x {width} pixels (height x width); a side may be at most "
            f"{_MAX_ASPECT} times the other: cut the frames."
        )


def check_values(pixels: Tensor, name: str) -> None:
    """Raises ValueError unless `pixels` are uint8, or floating point, finite and about in [0, 1].

    `name` is what the message calls the pixels.
    """
    if pixels.dtype == torch.uint8 or pixels.numel() == 0:
        return
    if not pixels.is_floating_point():
        raise ValueError(f"{_hold(name)} {pixels.dtype} values; needs uint8 or values in [0, 1].")
    low, high = pixels.aminmax()
    # NaN compares as false, so it fails too.
    if not (low >= -MAX_OVERSHOOT and high <= 1 + MAX_OVERSHOOT):
        raise ValueError(
            f"{_hold(name)} values from {low:.4g} to {high:.4g}; needs finite values in [0, 1]: "
            "divide 8-bit pixels by 255 or check what made the frames."
        )


def rgb_levels(images: Tensor, name: str) -> Tensor:
    """Returns pictures `[..., h, w, 3 or more]` as RGB `[..., h, w, 3]` uint8.

    Raises ValueError as `check_values` does.
    """
    rgb = images[..., :3]
    check_values(rgb, name)
    return to_uint8(rgb)


def photo_levels(photo: Tensor, name: str) -> Tensor:
    """Returns a photo `[1, h, w, 3 or 4]` as RGB `[1, h, w, 3]` uint8, black where transparent.

    Raises ValueError as `check_values` does.
    """
    if photo.shape[-1] == 4 and photo.is_floating_point():
        photo = over_color(photo, photo.new_tensor(BLACK))
    return rgb_levels(photo, name)


def _hold(name: str) -> str:
    return f"{name} hold" if name.endswith("s") else f"{name} holds"


def _were(name: str) -> str:
    return f"{name} were" if name.endswith("s") else f"{name} was"


def _is(name: str) -> str:
    return f"{name} are" if name.endswith("s") else f"{name} is"
