"""Drift: whether a clip's face leaves the photo's as the clip goes on, a number with its error.

It is the slope of the straight line of least squares through the frames' cosines c_i over their
numbers f_i, for 100 frames, with n frames that show a face and S = sum (f_i - f_mean)^2:

    slope = sum (f_i - f_mean) (c_i - c_mean) / S
    error = sqrt(sum residual_i^2 / (n - 2) / S)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# The drift is a change over so many frames.
FRAMES = 100


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The straight line through a clip's cosines."""

    slope: float
    """By how much the cosine changes over 100 frames; below 0 the face leaves the photo's."""
    error: float | None
    """The standard error of `slope`, as if frames were independent; None with two frames."""
    start: float
    """The line's cosine at frame 0."""

    def at(self, frame: float) -> float:
        """The line's cosine at a frame of that number."""
        return self.start + self.slope * frame / FRAMES

    def __str__(self) -> str:
        """The slope and its error, for people."""
        error = "" if self.error is None else f" ± {self.error:.3f}"
        return f"{self.slope:+.3f}{error}"


def measure_drift(frames: Sequence[int], cosines: Sequence[float | None]) -> Drift | None:
    """The drift of a clip whose frames of these numbers have these cosines, None without a face.

    A frame that comes twice counts once. Returns None with fewer than two frames that show a face.
    """
    known = {
        frame: cosine for frame, cosine in zip(frames, cosines, strict=True) if cosine is not None
    }
    if len(known) < 2:
        return None
    x, y = np.array([*known], dtype=float), np.array([*known.values()], dtype=float)
    apart = x - x.mean()
    spread = float((apart**2).sum())
    slope = float((apart * y).sum()) / spread
    start = float(y.mean()) - slope * float(x.mean())
    error = None
    if len(known) > 2:
        squares = float(((y - start - slope * x) ** 2).sum())
        error = (squares / (len(known) - 2) / spread) ** 0.5 * FRAMES
    return Drift(slope=slope * FRAMES, error=error, start=start)
