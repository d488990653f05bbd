"""The paper's Eq. 4 and its ablations, counted out."""

from __future__ import annotations


def equation_4(num_frames: int, height: int, width: int, placement: str) -> list[list[list[int]]]:
    """Eq. 4 in frames and pixels, [start, end) per axis and token, by plain counting."""
    t0 = num_frames if placement in ("tass", "temporal_only") else 0
    i0 = height if placement in ("tass", "spatial_only") else 0
    j0 = width if placement in ("tass", "spatial_only") else 0
    time, rows, columns = [], [], []
    for i in range(height):
        for j in range(width):
            time.append([max(0, 8 * t0 - 7), 8 * t0 + 1])
            rows.append([32 * (i0 + i), 32 * (i0 + i + 1)])
            columns.append([32 * (j0 + j), 32 * (j0 + j + 1)])
    return [time, rows, columns]
