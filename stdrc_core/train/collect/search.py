"""Searches a video for faces: a few frames a second, and all where somebody comes or goes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ...faces.finder import EmbeddedFace, FaceFinder
from ...video import TimedFrame
from .face_looks import Looks, measure
from .letterbox import Bars, bars_of
from .overlap import iou

# Two samples whose faces overlap by less, or whose cosine is lower, are looked between.
_SAME_PLACE, _SAME_FACE = 0.5, 0.5
# How many samples are searched at once, and how many pixels of decoded frames wait for it at most.
_BATCH_SIZE, _MOST_WAITING_PX = 8, 120_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What was found in a frame."""

    time_s: float
    bars: Bars
    faces: tuple[tuple[EmbeddedFace, Looks], ...]


@dataclass(eq=False)
class _Sample:
    frame: TimedFrame
    between: list[TimedFrame] = field(default_factory=list)
    """The frames from here to the next sample."""


class FaceSearch:
    """Takes the frames of a video one by one, and gives what was found in those it looked at."""

    def __init__(self, finder: FaceFinder, sample_fps: float) -> None:
        self._finder, self._sample_fps = finder, sample_fps
        self._waiting: list[_Sample] = []
        self._last: tuple[_Sample, Seen] | None = None
        self._next_s = -math.inf
        self._waiting_px = 0

    def add(self, frame: TimedFrame) -> Iterator[Seen]:
        """Takes the next frame; yields what was found in earlier ones, in their order."""
        self._waiting_px += frame.frame.width * frame.frame.height
        if frame.time_s < self._next_s - 1e-6:
            last = self._waiting[-1] if self._waiting else self._last[0]
            last.between.append(frame)
            return
        # On a grid of the file's own seconds, whatever the rate of its frames.
        self._next_s = (math.floor(frame.time_s * self._sample_fps + 1e-6) + 1) / self._sample_fps
        if len(self._waiting) == _BATCH_SIZE or self._waiting_px > _MOST_WAITING_PX:
            yield from self._search()
            self._waiting_px = 0
        self._waiting.append(_Sample(frame))

    def finish(self) -> Iterator[Seen]:
        """Yields what was found in the frames that wait, the video's last one among them."""
        last = self._waiting[-1] if self._waiting else (self._last[0] if self._last else None)
        if last is not None and last.between:
            self._waiting.append(_Sample(last.between.pop()))
        yield from self._search()

    def _search(self) -> Iterator[Seen]:
        samples, self._waiting = self._waiting, []
        for sample, seen in zip(samples, self._look([s.frame for s in samples]), strict=True):
            if self._last is not None:
                before, seen_before = self._last
                if before.between and _differ(seen_before, seen):
                    yield from self._look(before.between)
                before.between.clear()
            yield seen
            self._last = (sample, seen)

    def _look(self, frames: Sequence[TimedFrame]) -> list[Seen]:
        seen: list[Seen] = []
        for start in range(0, len(frames), _BATCH_SIZE):
            batch = frames[start : start + _BATCH_SIZE]
            pixels = [each.upright() for each in batch]
            for frame, image, faces in zip(batch, pixels, self._find(pixels), strict=True):
                looks = tuple((face, measure(image, face.face)) for face in faces)
                seen.append(Seen(time_s=frame.time_s, bars=bars_of(image), faces=looks))
        return seen

    def _find(self, pixels: Sequence[np.ndarray]) -> list[tuple[EmbeddedFace, ...]]:
        """The faces of each frame; broadcasts may change their size on the way."""
        if len({image.shape for image in pixels}) == 1:
            return self._finder.find(torch.from_numpy(np.stack(pixels)))
        return [self._finder.find(torch.from_numpy(image.copy())[None])[0] for image in pixels]


def _differ(before: Seen, after: Seen) -> bool:
    """Whether faces came, went, or moved so far that they may be others."""
    if len(before.faces) != len(after.faces):
        return True
    left = [face for face, _ in after.faces]
    for face, _ in before.faces:
        best = max(left, key=lambda each: iou(each.face.box, face.face.box), default=None)
        if (
            best is None
            or iou(best.face.box, face.face.box) < _SAME_PLACE
            or float(best.embedding @ face.embedding) < _SAME_FACE
        ):
            return True
        left.remove(best)
    return False
