"""The latent grid of a video, and the boxes in seconds and pixels that its tokens stand for.

LTX gives every latent token a box: [start, end) on each axis (time, height, width). This module
makes those boxes in latent indices and turns them into the seconds and pixels that the RoPE reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ScaleFactors:
    """How much of a video one latent step of its VAE covers; the defaults are those of LTX."""

    time: int = 8
    """The number of frames in a latent step."""
    height: int = 32
    """The number of rows of pixels in a latent step."""
    width: int = 32
    """The number of columns of pixels in a latent step."""


LTX_SCALE_FACTORS = ScaleFactors()
LTX_LATENT_CHANNELS = 128


@dataclass(frozen=True, kw_only=True)
class LatentGrid:
    """The size of a video's latent, in latent steps. Raises ValueError for a size below 1."""

    num_frames: int
    """T, the number of latent frames."""
    height: int
    """H, the number of rows of tokens in a latent frame."""
    width: int
    """W, the number of columns of tokens in a latent frame."""

    def __post_init__(self) -> None:
        for name in ("num_frames", "height", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of a latent grid was {getattr(self, name)}; needs >= 1.")

    @property
    def tokens_per_frame(self) -> int:
        """The number of tokens in one latent frame."""
        return self.height * self.width

    @property
    def num_tokens(self) -> int:
        """The number of tokens in the whole latent."""
        return self.num_frames * self.tokens_per_frame


def latent_grid(
    num_frames: int, height: int, width: int, scale: ScaleFactors = LTX_SCALE_FACTORS
) -> LatentGrid:
    """Returns the latent size of a clip of `num_frames` (8n + 1) of `height` x `width` pixels."""
    return LatentGrid(
        num_frames=num_latent_frames(num_frames, scale.time),
        height=height // scale.height,
        width=width // scale.width,
    )


def num_latent_frames(num_frames: int, stride: int = LTX_SCALE_FACTORS.time) -> int:
    """Returns how many latent frames `num_frames` (8n + 1) become, at the VAE's stride in time."""
    return (num_frames - 1) // stride + 1


def latent_bounds(grid: LatentGrid, origin: tuple[int, int, int] = (0, 0, 0)) -> Tensor:
    """Returns the boxes of all tokens of `grid`, whose first token stands at `origin` = (t, i, j).

    They are `[3, N, 2]` int64 latent indices: [start, end) on each axis (time, height, width). The
    tokens are in the order of LTX's patchifier: j changes fastest and t slowest.
    """
    axes = [
        torch.arange(first, first + size)
        for first, size in zip(origin, (grid.num_frames, grid.height, grid.width), strict=True)
    ]
    starts = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
    return torch.stack((starts, starts + 1), dim=-1)


def to_pixel_bounds(
    bounds: Tensor, *, scale: ScaleFactors = LTX_SCALE_FACTORS, causal: bool = True
) -> Tensor:
    """Returns latent boxes `[3, N, 2]` as pixel boxes of the same shape, whose time is in frames.

    Each index is multiplied by the scale factor of its axis. The first latent frame of a causal VAE
    holds a single pixel frame, so a time t becomes max(0, s t + 1 - s), where s is the scale factor
    of time (docs/method.md section 3). `causal=False` is for LTX-Video before 0.9.5.
    """
    factors = torch.tensor((scale.time, scale.height, scale.width), device=bounds.device)
    pixels = bounds * factors.view(3, 1, 1)
    if causal:
        pixels[0] = (pixels[0] + 1 - scale.time).clamp(min=0)
    return pixels


def to_seconds(pixel_bounds: Tensor, frame_rate: float) -> Tensor:
    """Returns pixel boxes `[3, N, 2]`, whose time is in frames, as float32 with time in seconds.

    `frame_rate` is in frames per second. Raises ValueError where it is not positive and finite.
    """
    if not 0 < frame_rate < math.inf:
        raise ValueError(
            f"frame_rate was {frame_rate}; it needs to be a finite number above 0, for example 24."
        )
    boxes = pixel_bounds.to(torch.float32, copy=True)
    boxes[0] /= frame_rate
    return boxes
