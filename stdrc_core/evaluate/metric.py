"""What a metric is: it watches a clip go by, frame by frame, and then gives a score."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..faces.drift import Drift
from ..faces.others import Others


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A video to be scored, as it is known before its frames come."""

    name: str
    """Its path below the folder of videos, which no other clip has."""
    path: Path
    prompt: str | None
    references: tuple[Path, ...]
    """The photos of the person that it was made from; empty where none is named."""
    num_frames: int
    fps: float
    height: int
    """In pixels, as `width` is."""
    width: int


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a metric says of a clip."""

    value: float
    """The score, in the paper's unit."""
    frames: tuple[int, ...] = ()
    """The numbers of the frames that `curve` has values of."""
    curve: tuple[float | None, ...] = ()
    """One value for each of `frames`; None for a frame that has none, since it shows no face."""
    drift: Drift | None = None
    """Whether `curve` falls as the clip goes on; None where the metric does not tell, and with
    fewer than two frames that have a value."""
    others: Others | None = None
    """Who else than the scored face was seen; None where the metric does not tell."""


class Watch:
    """One metric on one clip. A ValueError of any of its methods is this clip's, and is reported
    with the clip's result."""

    wanted: Container[int]
    """The numbers of the frames that it wants to see."""

    def see(self, index: int, frame: Tensor) -> None:
        """Takes in the frame `[h, w, 3]` uint8 of that number; frames come in order."""
        raise NotImplementedError

    def score(self) -> Score:
        """The clip's score; it is asked for once, after the last frame and `Metric.flush`."""
        raise NotImplementedError

    def embeddings(self) -> tuple[Tensor, list[Tensor]] | None:
        """The embedding `[D]` of the photo's face and those of the frames with a face, to be kept
        beside the score; None where the metric has no such embeddings."""
        return None


class Metric:
    """A metric that was opened once and scores many clips."""

    def watch(self, clip: Clip) -> Watch:
        """Begins a clip; raises ValueError for a clip that this metric cannot score."""
        raise NotImplementedError

    def flush(self) -> None:
        """Computes what waits for a full batch. Nothing waits unless a metric says so."""

    def close(self) -> None:
        """Ends what the metric started. There is nothing to end unless a metric says so."""
