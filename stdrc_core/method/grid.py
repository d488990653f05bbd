"""The latent grid of a video, and its way from latent indices to pixels and seconds.

LTX gives every latent token a box: [start, end) per axis (time, height, width). This module makes
those boxes in latent indices and turns them into the pixels and seconds that the RoPE reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ScaleFactors:
    """Pixels per latent step of the video VAE: frames, rows, columns."""

    time: int = 8
    height: int = 32
    width: int = 32


LTX_SCALE_FACTORS = ScaleFactors()
LTX_LATENT_CHANNELS = 128


@dataclass(frozen=True, kw_only=True)
class LatentGrid:
    """Size of a video latent in latent steps: T frames of H x W tokens, all at least 1."""

    num_frames: int
    height: int
    width: int

    def __post_init__(self) -> None:
        for name in ("num_frames", "height", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of a latent grid was {getattr(self, name)}; needs >= 1.")

    @property
    def tokens_per_frame(self) -> int:
        return self.height * self.width

    @property
    def num_tokens(self) -> int:
        return self.num_frames * self.tokens_per_frame


def latent_grid(
    num_frames: int, height: int, width: int, scale: ScaleFactors = LTX_SCALE_FACTORS
) -> LatentGrid:
    """The latent's size of a clip of 8n + 1 frames of `height` x `width` pixels."""
    return LatentGrid(
        num_frames=(num_frames - 1) // scale.time + 1,
        height=height // scale.height,
        width=width // scale.width,
    )


def latent_bounds(grid: LatentGrid, origin: tuple[int, int, int] = (0, 0, 0)) -> Tensor:
    """Boxes of all tokens of `grid`, its first token standing at `origin` = (t, i, j).

    Returns `[3, N, 2]` int64 latent indices, [start, end) per axis; tokens run t, then i, then j,
    as the patchifier of LTX lays them out.
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
    """Latent boxes `[3, N, 2]` to pixel boxes of the same shape; the time axis is in frames.

    Multiplies by the scale factors. A causal VAE's first latent frame holds one pixel frame, so
    time becomes max(0, s t + 1 - s) (docs/method.md section 3); `causal=False` is LTX-Video before
    0.9.5.
    """
    factors = torch.tensor((scale.time, scale.height, scale.width), device=bounds.device)
    pixels = bounds * factors.view(3, 1, 1)
    if causal:
        pixels[0] = (pixels[0] + 1 - scale.time).clamp(min=0)
    return pixels


def to_seconds(pixel_bounds: Tensor, frame_rate: float) -> Tensor:
    """Pixel boxes `[3, N, 2]` with time in frames to float32 boxes with time in seconds.

    Raises ValueError for a frame rate that is not positive and finite.
    """
    if not 0 < frame_rate < math.inf:
        raise ValueError(
            f"frame_rate was {frame_rate}; it needs to be a finite number above 0, for example 24."
        )
    boxes = pixel_bounds.to(torch.float32, copy=True)
    boxes[0] /= frame_rate
    return boxes
