"""Reference augmentation A (Eq. 5), which changes the photo before the VAE encodes it.

It keeps the model from copying the photo's pose, framing and light. It belongs to training; at
inference the photo is not augmented.

Flip, rotation, crop and colour jitter are each drawn with a probability of their own. The paper
names the four and does not say how likely or how large they are: the defaults are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

# The weights of red, green and blue in grey by ITU-R BT.601, which image libraries use too.
_LUMA = (0.299, 0.587, 0.114)


# The lowest and highest value that a size, or any probability, may have.
RANGES = {"max_rotation_deg": (0, 45), "min_crop": (0.1, 1), "max_color": (0, 1)}
PROBABILITY_RANGE = (0, 1)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How likely each change of the photo is, and how large it may be; calling it changes a photo.

    Raises ValueError for a number that is out of its range.
    """

    p_flip: float = 0.5
    """The probability that the photo is mirrored left to right."""
    p_rotate: float = 0.3
    """The probability that the photo is turned slightly."""
    max_rotation_deg: float = 10.0
    """The largest angle that the photo is turned by, in degrees to either side."""
    p_crop: float = 0.5
    """The probability that a part is cut out of the photo and scaled up to the photo's size."""
    min_crop: float = 0.85
    """The smallest share of the photo's height and width that a crop keeps."""
    p_color: float = 0.5
    """The probability that the photo's colours are changed."""
    max_color: float = 0.15
    """The largest change of brightness, contrast and saturation. Each of them is multiplied by a
    number from 1 - max_color to 1 + max_color."""

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = RANGES.get(field.name, PROBABILITY_RANGE)
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise ValueError(f"{field.name} was {value}; it needs to be from {low} to {high}.")

    def __call__(self, photo: Tensor, generator: torch.Generator) -> Tensor:
        """Returns A(photo) for a photo `[1, H, W, 3]` in [0, 1], in the same shape and range.

        `photo` itself is not changed. All random numbers come from `generator`, which is on the
        CPU. Every call draws the same number of them, so that what is drawn for one change does
        not depend on whether another change is made.
        """
        draws = torch.rand(11, generator=generator, dtype=torch.float64).tolist()
        take_flip, take_rotate, take_crop, take_color, angle, *box, light, contrast, tint = draws
        if take_flip < self.p_flip:
            photo = photo.flip(2)
        if take_rotate < self.p_rotate:
            photo = rotate(photo, (2 * angle - 1) * self.max_rotation_deg)
        if take_crop < self.p_crop:
            photo = crop(photo, *self._crop_box(*box))
        if take_color < self.p_color:
            factors = [1 + (2 * draw - 1) * self.max_color for draw in (light, contrast, tint)]
            photo = jitter_color(photo, *factors)
        return photo.clone()

    def _crop_box(self, share: float, left: float, top: float) -> tuple[float, float, float]:
        """Turns three draws in [0, 1] into the `share`, `left` and `top` that `crop` takes."""
        share = self.min_crop + share * (1 - self.min_crop)
        return share, left * (1 - share), top * (1 - share)


def rotate(photo: Tensor, angle_deg: float) -> Tensor:
    """Returns the photo `[1, H, W, C]` turned counter-clockwise about its middle by `angle_deg`.

    The pixels of the photo's edge are repeated into the corners that the turn leaves empty.
    """
    _, height, width, _ = photo.shape
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    # affine_grid counts both sides from -1 to 1, so the turn has to undo the photo's aspect ratio.
    matrix = photo.new_tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    return _resample(photo, matrix)


def crop(photo: Tensor, share: float, left: float, top: float) -> Tensor:
    """Returns a window of the photo `[1, H, W, C]`, scaled up to the photo's size.

    All three numbers are shares of the photo's sides, in [0, 1]: the window has `share` of both
    sides, and its top left corner is at (`left`, `top`).
    """
    matrix = photo.new_tensor(
        [[share, 0.0, 2 * left + share - 1], [0.0, share, 2 * top + share - 1]]
    )
    return _resample(photo, matrix)


def jitter_color(photo: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Returns the photo `[1, H, W, 3]` in [0, 1] with its colours scaled by three factors.

    Brightness is scaled first, then contrast about the photo's mean grey, then saturation about
    the grey of each pixel. After each of them the values are clamped to [0, 1].
    """
    luma = photo.new_tensor(_LUMA)
    photo = (photo * brightness).clamp(0, 1)
    mean = (photo * luma).sum(dim=-1).mean()
    photo = (mean + (photo - mean) * contrast).clamp(0, 1)
    grey = (photo * luma).sum(dim=-1, keepdim=True)
    return (grey + (photo - grey) * saturation).clamp(0, 1)


def _resample(photo: Tensor, matrix: Tensor) -> Tensor:
    """Resamples the photo `[1, H, W, C]` bilinearly.

    `matrix` `[2, 3]` leads from output to input coordinates, both in [-1, 1].
    """
    pixels = photo.movedim(-1, 1)
    grid = F.affine_grid(matrix[None], list(pixels.shape), align_corners=False)
    return F.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="border", align_corners=False
    ).movedim(1, -1)
