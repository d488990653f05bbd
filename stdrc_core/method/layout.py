"""Where the reference tokens stand beside the video's (Eq. 3-4): TASS-RoPE and other placements.

    video      p_v(t, i, j) = (t, i, j)
    reference  p_r(i, j)    = (T, H + i, W + j)

The reference takes the first temporal slot after the video and a spatial region of its own, so it
shares no coordinate on any axis with a video token while its inner geometry stays as it is. Beside
it stand the paper's ablations, and the layouts that public face adapters were trained with.

Several references take slots 0, 1, ...; at slot k `tass` is (T, (k+1) H + i, (k+1) W + j), so no
two of them share a coordinate in space. The paper has one reference: slots are our choice. It also
has the video's size; references of h x w tokens stand at H + k h + i and W + k w + j.
"""

from __future__ import annotations

import math
from enum import StrEnum

import torch
from torch import Tensor

from .grid import LTX_SCALE_FACTORS, LatentGrid, ScaleFactors, latent_bounds, to_pixel_bounds

# From the video's end to slot 0 of `strata`, and from slot to slot.
STRATA_STEP_S = 1.5


class Placement(StrEnum):
    """TASS-RoPE, its ablations, and the layouts of BFS's adapters (docs/method.md sections 3, 9).

    | | time | height and width | angles turned |
    | --- | --- | --- | --- |
    | tass | T | (k+1) H + i, (k+1) W + j | no |
    | overlap | 0 | i, j | no |
    | temporal_only | T + k | i, j | no |
    | spatial_only | 0 | (k+1) H + i, (k+1) W + j | no |
    | overlap_source_phase | 0 | i, j | yes |
    | strata | the instant (k+1) 1.5 s after the video's end | i, j | yes |
    | sidecar | the whole clip | i, (k+1) W + j | yes |
    | bfs_st_drc | T - 1 | (k+1) (H - 1) + i, (k+1) (W - 1) + j | yes |

    `bfs_st_drc` is what BFS 1.29's "st_drc" does: it is one step short of `tass` on each axis, so
    its first token lies on the video's last, and the next reference's on its own last. It is here
    for adapters that were trained so.
    """

    TASS = "tass"
    OVERLAP = "overlap"
    TEMPORAL_ONLY = "temporal_only"
    SPATIAL_ONLY = "spatial_only"
    OVERLAP_SOURCE_PHASE = "overlap_source_phase"
    STRATA = "strata"
    SIDECAR = "sidecar"
    BFS_ST_DRC = "bfs_st_drc"

    @property
    def turns_angles(self) -> bool:
        """Whether the reference's RoPE angles are turned by its source phase (source_phase)."""
        return self in _BFS

    @property
    def keeps_apart(self) -> bool:
        """Whether no reference token stands where a video's or another reference's token does."""
        return self not in _LIES_ON_OTHERS


_BFS = (
    Placement.OVERLAP_SOURCE_PHASE,
    Placement.STRATA,
    Placement.SIDECAR,
    Placement.BFS_ST_DRC,
)
_LIES_ON_OTHERS = (Placement.OVERLAP, Placement.OVERLAP_SOURCE_PHASE, Placement.BFS_ST_DRC)


def reference_origin(
    grid: LatentGrid,
    placement: Placement,
    slot: int = 0,
    size: tuple[int, int] | None = None,
) -> tuple[int, int, int]:
    """Latent coordinate (t, i, j) of the first token of the reference at `slot`, of 0 or more.

    `grid` is the video's size, `size` the (h, w) of all references, by default the video's. `tass`
    is Eq. 4. `overlap` lies on the first video frame (the row
    "+ Ref. Concat."); `temporal_only` and `spatial_only` move away from it on some axes alone.
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
        case Placement.OVERLAP | Placement.OVERLAP_SOURCE_PHASE | Placement.STRATA:
            return 0, 0, 0


def reference_pixel_bounds(
    grid: LatentGrid,
    placement: Placement = Placement.TASS,
    *,
    slot: int = 0,
    size: tuple[int, int] | None = None,
    frame_rate: float | None = None,
    temporal_offset: int = 0,
    scale: ScaleFactors = LTX_SCALE_FACTORS,
    causal: bool = True,
) -> Tensor:
    """Boxes of the h x w tokens of the reference at `slot` beside a video of size `grid`.

    `size` is the (h, w) of all references, by default the video's (H, W): adapters of character
    sheets see the sheet at a size of its own.
    Returns `[3, h * w, 2]` [start, end): time in frames, height and width in pixels; int64, but
    float64 for `strata`, whose time is in seconds and needs `frame_rate` in frames/s. For `tass`
    on a causal VAE: time [8T - 7, 8T + 1), height [32 (H+i), 32 (H+i+1)), width alike.
    `temporal_offset` moves the reference in time, in latent steps of 8 frames: adapters that
    overlap may have been trained with -1 or -2, before the first frame.
    Raises ValueError where `strata` is asked for without a positive, finite frame rate.
    """
    height, width = size or (grid.height, grid.width)
    frame = LatentGrid(num_frames=1, height=height, width=width)
    origin = reference_origin(grid, placement, slot, size)
    bounds = to_pixel_bounds(latent_bounds(frame, origin), scale=scale, causal=causal)
    if placement is Placement.STRATA:
        instant = _end_of(grid, scale, causal) + strata_distance(slot, frame_rate)
        bounds = bounds.to(torch.float64)
        # An instant, as in BFS's node: the RoPE reads the middle of start and end.
        bounds[0] = instant
    elif placement is Placement.SIDECAR:
        bounds[0] = torch.tensor([0, _end_of(grid, scale, causal)])
        # Centred on the video's height; a latent step has an even number of pixels.
        bounds[1] += (grid.height - height) * scale.height // 2
    bounds[0] += temporal_offset * scale.time
    return bounds


def strata_distance(slot: int, frame_rate: float | None) -> float:
    """Frames from the video's end to `slot` of strata: (k + 1) * 1.5 s.

    Raises ValueError for a frame rate that is missing, not positive or not finite.
    """
    if frame_rate is None or not 0 < frame_rate < math.inf:
        raise ValueError(
            f"frame_rate was {frame_rate}; placement strata counts in seconds and needs a finite "
            "number above 0, for example 24."
        )
    return (slot + 1) * STRATA_STEP_S * frame_rate


def _end_of(grid: LatentGrid, scale: ScaleFactors, causal: bool) -> int:
    """Frames of the video, which is where its last token's box ends."""
    last = (grid.num_frames - 1, 0, 0)
    one = LatentGrid(num_frames=1, height=1, width=1)
    return int(to_pixel_bounds(latent_bounds(one, last), scale=scale, causal=causal)[0].max())
