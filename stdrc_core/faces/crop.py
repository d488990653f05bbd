"""Finds the part of a latent that has to be decoded when only its faces are wanted."""

from __future__ import annotations

import math

from torch import Tensor

from ..method.grid import LTX_SCALE_FACTORS, ScaleFactors
from .align import ARCFACE_SIZE_PX, aligned_bounds

# LTX-2.0's decoder mirrors at the edge, for which it needs a second cell.
_MIN_CELLS = 2


def face_crop(
    landmarks: Tensor,
    num_rows: int,
    num_columns: int,
    *,
    margin: int,
    size_px: int = ARCFACE_SIZE_PX,
    scale: ScaleFactors = LTX_SCALE_FACTORS,
) -> tuple[slice, slice]:
    """Returns the rows and the columns of one box of latent cells that holds all faces.

    `landmarks` is `[N, 5, 2]`, N at least 1: (x, y) pixels of a frame of `num_rows` x
    `num_columns` cells of `scale` pixels. The box holds what alignment to `size_px` reads of all
    faces, and `margin` more cells on each side; it ends at the frame's edge. It has at least two
    cells a side, unless the frame has only one.
    """
    bounds = aligned_bounds(landmarks.detach().cpu().double(), size_px)
    left, top = bounds[:, :2].amin(dim=0).tolist()
    right, bottom = bounds[:, 2:].amax(dim=0).tolist()
    rows, columns = _cells(top, bottom, scale.height), _cells(left, right, scale.width)
    return _inside(rows, margin, num_rows), _inside(columns, margin, num_columns)


def _cells(low_px: float, high_px: float, cell_px: int) -> tuple[int, int]:
    """Returns the cells [start, stop) that bilinear reading takes pixels from.

    It reads at positions from `low_px` to `high_px`.
    """
    return math.floor(low_px) // cell_px, (math.floor(high_px) + 1) // cell_px + 1


def _inside(cells: tuple[int, int], margin: int, num_cells: int) -> slice:
    """Returns the cells [start, stop) and a margin, cut off at the frame's edges.

    For cells that lie beyond an edge it returns the cells at that edge.
    """
    start, stop = cells[0] - margin, cells[1] + margin
    least = min(_MIN_CELLS, num_cells)
    start = min(max(start, 0), num_cells - least)
    return slice(start, max(min(stop, num_cells), start + least))
