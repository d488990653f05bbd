"""What a metric is: something that watches a clip go by, frame by frame, and then gives a score."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A video to be scored, as it is known before its frames come."""

    name: str
    """Its path below the folder of videos; of one clip alone."""
    path: Path
    prompt: str | None
    reference: Path | None
    num_frames: int
    fps: float
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a metric says of a clip."""

    value: float
    """In the paper's unit."""
    frames: tuple[int, ...] = ()
    """Which frames `curve` is of."""
    curve: tuple[float | None, ...] = ()
    """One value a frame, None where it has none (no face)."""


class Watch(Protocol):
    """One metric on one clip. A ValueError of any method is this clip's, and is reported."""

    wanted: Container[int]
    """The numbers of the frames that it wants to see."""

    def see(self, index: int, frame: Tensor) -> None:
        """Takes in the frame `[h, w, 3]` uint8 of that number; they come in order."""

    def score(self) -> Score:
        """Called once, after the last frame and `Metric.flush`."""


class Metric(Protocol):
    """Opened once for many clips."""

    def watch(self, clip: Clip) -> Watch: ...

    def flush(self) -> None:
        """Computes what waits for a full batch."""

    def close(self) -> None:
        """Ends what it started."""
