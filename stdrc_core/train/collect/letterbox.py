"""Finds black bars around a picture."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# A bar's rows are at most this bright in the mean, and no pixel of them is brighter than this:
# codecs leave noise in black, above all where a bar ends in the middle of a block.
_BLACK_MEAN, _BLACK_MOST = 20, 90
# Every so many pixels of a row or column are looked at.
_STEP_PX = 4
# The share of a side that is the least and the most of one bar, and how far two bars may differ, in
# small pictures by a codec's block.
_LEAST, _MOST, _UNEQUAL, _BLOCK_PX = 0.01, 0.36, 0.03, 8
# Codecs smear the picture's edge into the bar, in some frames farther than in others: bars are as
# wide as in all frames but this share.
_EDGE_PX, _SMEARED = 4, 0.2

Bars = tuple[int, int, int, int]


def bars_of(pixels: np.ndarray) -> Bars:
    """How many pixels at the left, top, right and bottom of a frame `[h, w, 3]` are black."""
    rows = ~_are_black(_brightest(pixels[:, ::_STEP_PX]))
    columns = ~_are_black(_brightest(pixels[::_STEP_PX]).T)
    if not rows.any() or not columns.any():
        height, width = pixels.shape[:2]
        return width, height, width, height
    top, bottom = int(rows.argmax()), int(rows[::-1].argmax())
    left, right = int(columns.argmax()), int(columns[::-1].argmax())
    return left, top, right, bottom


def crop_of(frames: Iterable[Bars], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The picture inside the bars that nearly all frames of a shot have; None for no bars.

    `size` is the frame's (height, width). Returns left, top, right and bottom in pixels, which are
    even. Dark parts of one side alone, or of unequal size, are taken as the picture's own.
    """
    found = list(frames)
    if not found:
        return None
    left, top, right, bottom = (
        np.quantile(np.array(found), _SMEARED, axis=0, method="lower").astype(int).tolist()
    )
    height, width = size
    left, right = _pair(left, right, width)
    top, bottom = _pair(top, bottom, height)
    if not any((left, top, right, bottom)):
        return None
    return left, top, width - right, height - bottom


def _brightest(pixels: np.ndarray) -> np.ndarray:
    """The largest of each pixel's three levels; NumPy's own `max` takes ten times as long here."""
    return np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _are_black(levels: np.ndarray) -> np.ndarray:
    """Which rows of `[n, m]` levels are a bar's, `[n]` bool."""
    return (levels.mean(axis=1) <= _BLACK_MEAN) & (levels.max(axis=1) <= _BLACK_MOST)


def _pair(first: int, second: int, side: int) -> tuple[int, int]:
    """Two opposite bars as they are cut off, even and into the picture; (0, 0) for no bars.

    Both are cut as wide as the wider one, since a narrower one may be smeared in all frames.
    """
    low, high = min(first, second), max(first, second)
    unequal = max(_UNEQUAL * side, _BLOCK_PX)
    if low < _LEAST * side or high > _MOST * side or high - low > unequal:
        return 0, 0
    cut = high + _EDGE_PX + (high + _EDGE_PX) % 2
    return cut, cut + side % 2
