"""Reference augmentation A (Eq. 5): the photo is changed before the VAE, so that pose, framing and
light are not what the model copies. Training only; there is none at inference.

Flip, rotation, crop and colour jitter are each drawn with a probability of their own. The paper
names the four and leaves their sizes open: the defaults are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

# ITU-R BT.601, the weights that image libraries take for grey.
_LUMA = (0.299, 0.587, 0.114)


# Lowest and highest value of each size; probabilities are from 0 to 1.
RANGES = {"max_rotation_deg": (0, 45), "min_crop": (0.1, 1), "max_color": (0, 1)}
PROBABILITY_RANGE = (0, 1)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How likely each change of the photo is, and how large it may be.

    Raises ValueError for a number out of its range.
    """

    p_flip: float = 0.5
    """Probability that the photo is mirrored left to right."""
    p_rotate: float = 0.3
    """Probability that the photo is turned slightly."""
    max_rotation_deg: float = 10.0
    """Largest angle that the photo is turned by, in degrees to either side."""
    p_crop: float = 0.5
    """Probability that a part of the photo is cut out and scaled back to its size."""
    min_crop: float = 0.85
    """Smallest share of both sides that a crop keeps."""
    p_color: float = 0.5
    """Probability that the photo's colours are changed."""
    max_color: float = 0.15
    """Largest change of brightness, contrast and saturation, each of which is multiplied by a
    number from 1 - max_color to 1 + max_color."""

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = RANGES.get(field.name, PROBABILITY_RANGE)
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise ValueError(f"{field.name} was {value}; it needs to be from {low} to {high}.")

    def __call__(self, photo: Tensor, generator: torch.Generator) -> Tensor:
        """A(photo): `[1, H, W, 3]` in [0, 1] to the same shape and range; `photo` is unchanged.

        All random numbers come from `generator` (CPU), and always as many, so that the draws of
        one transform do not depend on whether another was taken.
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
        """(share, left, top) as shares of the photo's sides."""
        share = self.min_crop + share * (1 - self.min_crop)
        return share, left * (1 - share), top * (1 - share)


def rotate(photo: Tensor, angle_deg: float) -> Tensor:
    """`[1, H, W, C]` turned counter-clockwise about its middle; the edge fills what comes free."""
    _, height, width, _ = photo.shape
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    # affine_grid works in shares of the half sides: undo the aspect around the turn.
    matrix = photo.new_tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    return _resample(photo, matrix)


def crop(photo: Tensor, share: float, left: float, top: float) -> Tensor:
    """The window of `share` of both sides at (`left`, `top`), scaled back to the photo's size."""
    matrix = photo.new_tensor(
        [[share, 0.0, 2 * left + share - 1], [0.0, share, 2 * top + share - 1]]
    )
    return _resample(photo, matrix)


def jitter_color(photo: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Scales brightness, then contrast about the mean grey, then saturation about each grey."""
    luma = photo.new_tensor(_LUMA)
    photo = (photo * brightness).clamp(0, 1)
    mean = (photo * luma).sum(dim=-1).mean()
    photo = (mean + (photo - mean) * contrast).clamp(0, 1)
    grey = (photo * luma).sum(dim=-1, keepdim=True)
    return (grey + (photo - grey) * saturation).clamp(0, 1)


def _resample(photo: Tensor, matrix: Tensor) -> Tensor:
    """Bilinear; `matrix` `[2, 3]` takes output to input coordinates, both in [-1, 1]."""
    pixels = photo.movedim(-1, 1)
    grid = F.affine_grid(matrix[None], list(pixels.shape), align_corners=False)
    return F.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="border", align_corners=False
    ).movedim(1, -1)
