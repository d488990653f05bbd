"""Where the reference's tokens stand beside the video's (Eq. 3-4): TASS-RoPE and other placements.

    video      p_v(t, i, j) = (t, i, j)
    reference  p_r(i, j)    = (T, H + i, W + j)

The reference stands in the first time slot after the video and in a region of space of its own. So
it shares no coordinate on any axis with a video token, and its inner geometry stays as it is. This
file also holds the placements of the paper's ablations, and those that public face adapters were
trained with.

Several references take slots k = 0, 1, ... At slot k `tass` is (T, (k+1) H + i, (k+1) W + j), so
that no two references share a coordinate in space. The paper has one reference, of the video's
size; slots and other sizes are ours. References of h x w tokens stand at H + k h + i and
W + k w + j.

A reference may be a clip of F latent frames, as IC-LoRAs have it: a photo that is held, or a clip
of its own. Its frames then follow one another in time from where a photo would stand.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .grid import LTX_SCALE_FACTORS, LatentGrid, ScaleFactors, latent_bounds, to_pixel_bounds
from .placement import Placement as Placement

# The time from the video's end to slot 0 of `strata`, and from each slot to the next.
STRATA_STEP_S = 1.5


def reference_origin(
    grid: LatentGrid,
    placement: Placement,
    slot: int = 0,
    size: tuple[int, int] | None = None,
) -> tuple[int, int, int]:
    """Returns the latent coordinate (t, i, j) of the first token of the reference at `slot`.

    `grid` is the video's size, and `size` is the (h, w) of all references, by default the video's.
    `tass` is Eq. 4. `overlap` lies on the video's first frame (the paper's row "+ Ref. Concat.");
    `temporal_only` and `spatial_only` move away from it in time alone and in space alone.
    """
    assert slot >= 0, f"slot is {slot}"
    height, width = size or (grid.height, grid.width)
    end = (grid.num_frames, grid.height + slot * height, grid.width + slot * width)
    match placement:
        case Placement.TASS:
            return end
        case Placement.TEMPORAL_ONLY:
            return grid.num_frames + slot, 0, 0
        case Placement.SPATIAL_ONLY:
            return 0, *end[1:]
        case Placement.SIDECAR:
            return 0, 0, end[2]
        case Placement.BFS_ST_DRC:
            return end[0] - 1, end[1] - 1 - slot, end[2] - 1 - slot
        case _:
            return 0, 0, 0


def reference_pixel_bounds(
    grid: LatentGrid,
    placement: Placement = Placement.TASS,
    *,
    slot: int = 0,
    num_slots: int = 1,
    size: tuple[int, int] | None = None,
    num_frames: int = 1,
    frame_rate: float | None = None,
    temporal_offset: int = 0,
    scale: ScaleFactors = LTX_SCALE_FACTORS,
    causal: bool = True,
) -> Tensor:
    """Returns the boxes of the F h w tokens of the reference at `slot` beside a video of `grid`.

    They are `[3, F h w, 2]`, [start, end) on each axis: time in frames, height and width in pixels.
    For `tass` on a causal VAE the time is [8T - 7, 8T + 1), the height is
    [32 (H+i), 32 (H+i+1)), and the width is the same with W and j. The boxes are int64, but float64
    for `strata`, whose distance in seconds becomes frames by `frame_rate` (frames/s).

    `size` is the (h, w) of all references, by default the video's (H, W): adapters for character
    sheets see the sheet at a size of its own. `num_frames` is F. `num_slots` is K, how many slots
    the run's references have; `before_clip` alone heeds it. `temporal_offset` moves the reference
    in time, by latent steps of 8 frames: adapters that overlap may have been trained with -1 or -2,
    which is before the first frame.

    Raises ValueError for `strata` without a positive, finite frame rate.
    """
    height, width = size or (grid.height, grid.width)
    own = LatentGrid(num_frames=num_frames, height=height, width=width)
    origin = reference_origin(grid, placement, slot, size)
    bounds = to_pixel_bounds(latent_bounds(own, origin), scale=scale, causal=causal)
    if placement is Placement.STRATA:
        instant = _end_of(grid, scale, causal) + strata_distance(slot, frame_rate)
        bounds = bounds.to(torch.float64)
        # Start and end are the same, as in BFS's node: the RoPE reads the middle of the two.
        bounds[0] = instant
    elif placement is Placement.SIDECAR:
        bounds[0] = torch.tensor([0, _end_of(grid, scale, causal)])
        # The reference is centred on the video's height. A latent step has an even number of
        # pixels, so the halving leaves no rest.
        bounds[1] += (grid.height - height) * scale.height // 2
    elif placement is Placement.BEFORE_CLIP:
        bounds[0] -= max(num_slots, slot + 1) - slot
    bounds[0] += temporal_offset * scale.time
    return bounds


def strata_distance(slot: int, frame_rate: float | None) -> float:
    """Returns how many frames after the video's end slot k of `strata` stands: (k + 1) 1.5 s.

    `frame_rate` is in frames/s. Raises ValueError where it is missing, not positive or not finite.
    """
    if frame_rate is None or not 0 < frame_rate < math.inf:
        raise ValueError(
            f"frame_rate was {frame_rate}; placement strata counts in seconds and needs a finite "
            "number above 0, for example 24."
        )
    return (slot + 1) * STRATA_STEP_S * frame_rate


def _end_of(grid: LatentGrid, scale: ScaleFactors, causal: bool) -> int:
    """Returns the length of the video in frames, which is where its last token's box ends."""
    last = (grid.num_frames - 1, 0, 0)
    one = LatentGrid(num_frames=1, height=1, width=1)
    return int(to_pixel_bounds(latent_bounds(one, last), scale=scale, causal=causal)[0].max())
