"""Where the reference tokens stand beside the video's (Eq. 3-4): TASS-RoPE and its ablations.

    video      p_v(t, i, j) = (t, i, j)
    reference  p_r(i, j)    = (T, H + i, W + j)

The reference takes the first temporal slot after the video and a spatial region of its own, so it
shares no coordinate on any axis with a video token while its inner geometry stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from torch import Tensor

from .grid import LTX_SCALE_FACTORS, LatentGrid, ScaleFactors, latent_bounds, to_pixel_bounds


class Placement(StrEnum):
    """TASS-RoPE, and the placements that the paper compares it with (SPEC sections 3 and 6)."""

    TASS = "tass"
    OVERLAP = "overlap"
    TEMPORAL_ONLY = "temporal_only"
    SPATIAL_ONLY = "spatial_only"


def reference_origin(grid: LatentGrid, placement: Placement) -> tuple[int, int, int]:
    """Latent coordinate (t, i, j) of the reference's first token beside a video of size `grid`.

    `tass` is Eq. 4. `overlap` lies on the first video frame (the row "+ Ref. Concat."), the other
    two move away from it on the time axis or on the spatial axes alone.
    """
    after_video = placement in (Placement.TASS, Placement.TEMPORAL_ONLY)
    beside_video = placement in (Placement.TASS, Placement.SPATIAL_ONLY)
    return (
        grid.num_frames if after_video else 0,
        grid.height if beside_video else 0,
        grid.width if beside_video else 0,
    )


def reference_pixel_bounds(
    grid: LatentGrid,
    placement: Placement = Placement.TASS,
    *,
    scale: ScaleFactors = LTX_SCALE_FACTORS,
    causal: bool = True,
) -> Tensor:
    """Boxes of the H x W reference tokens beside a video of size `grid`.

    Returns `[3, H * W, 2]` int64 [start, end): time in frames, height and width in pixels. For
    `tass` on a causal VAE: time [8T - 7, 8T + 1), height [32 (H+i), 32 (H+i+1)), width alike.
    """
    frame = replace(grid, num_frames=1)
    bounds = latent_bounds(frame, reference_origin(grid, placement))
    return to_pixel_bounds(bounds, scale=scale, causal=causal)
