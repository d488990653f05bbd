"""Finds the shots of a video: where it is cut, and where it fades, by PySceneDetect."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Interpolation
from scenedetect import FrameTimecode
from scenedetect.detectors import ContentDetector, ThresholdDetector

# PySceneDetect's own default: below this mean level a picture is black.
_BLACK_LEVEL = 12
# From this mean level on a picture is white.
_WHITE_LEVEL = 243
# PySceneDetect looks at pictures about this wide.
_WIDTH_PX = 256
# A frame at the edge of a fade counts once it is this bright, as a share of its shot's median.
_LIT_SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A part of a video without a cut, in seconds of it; what fades is left off at its ends."""

    start_s: float
    end_s: float
    """When the next frame after the shot's last one is shown."""
    crop: tuple[int, int, int, int] | None = None
    """Left, top, right and bottom of the picture inside the letterbox bars, in pixels."""


class ShotFinder:
    """Takes the frames of a video one by one, and then knows its shots."""

    def __init__(self, threshold: float) -> None:
        """`threshold` is PySceneDetect's for `ContentDetector`."""
        # Every cut counts, however short the shot.
        self._cut = ContentDetector(threshold=threshold, min_scene_len=0)
        self._fades = [
            ThresholdDetector(threshold=level, min_scene_len=0, add_final_scene=True, method=method)
            for level, method in (
                (_BLACK_LEVEL, ThresholdDetector.Method.FLOOR),
                (_WHITE_LEVEL, ThresholdDetector.Method.CEILING),
            )
        ]
        self._size: tuple[int, int] | None = None
        self._cuts: set[int] = set()
        self._times: list[float] = []
        self._levels: list[float] = []

    def add(self, time_s: float, frame: av.VideoFrame) -> None:
        """Takes the next frame."""
        if self._size is None:
            width = min(_WIDTH_PX, frame.width)
            self._size = width, max(2, round(frame.height * width / frame.width))
        # Broadcasts change their size on the way, and pictures are compared at one size.
        width, height = self._size
        # The mean over each pixel's area takes half of the time of the default, which blurs too.
        size = {"width": width, "height": height, "interpolation": Interpolation.AREA}
        small = frame.reformat(format="bgr24", **size).to_ndarray()
        code = self._code(len(self._times))
        for detector in (self._cut, *self._fades):
            self._cuts |= {each.frame_num for each in detector.process_frame(code, small)}
        self._times.append(time_s)
        self._levels.append(float(small.mean()))

    def shots(self, frame_s: float) -> list[Shot]:
        """The shots so far in order; the last frame is shown for `frame_s` seconds."""
        count = len(self._times)
        if not count:
            return []
        last = self._code(count - 1)
        fades = {each.frame_num for fade in self._fades for each in fade.post_process(last)}
        edges = sorted({0, count} | {cut for cut in self._cuts | fades if 0 < cut < count})
        times = [*self._times, self._times[-1] + frame_s]
        found = []
        for start, end in itertools.pairwise(edges):
            lit = self._lit(start, end)
            if lit is not None:
                found.append(Shot(start_s=times[lit[0]], end_s=times[lit[1]]))
        return found

    def _lit(self, start: int, end: int) -> tuple[int, int] | None:
        """The frames of a shot without what fades at its ends; None where all is black or white."""
        levels = np.array(self._levels[start:end])
        plain = (levels >= _BLACK_LEVEL) & (levels < _WHITE_LEVEL)
        if not plain.any():
            return None
        usual = float(np.median(levels[plain]))
        # At the end of a fade the picture is nearly as bright as the shot is.
        enough = np.minimum(levels / usual, (255 - levels) / (255 - usual)) >= _LIT_SHARE
        first = int(enough.argmax()) if _is_faded(levels[0]) else 0
        last = len(levels) - (int(enough[::-1].argmax()) if _is_faded(levels[-1]) else 0)
        return (start + first, start + last) if first < last else None

    @staticmethod
    def _code(index: int) -> FrameTimecode:
        # Frames are told apart by their number; their times are kept here.
        return FrameTimecode(index, fps=Fraction(25))


def _is_faded(level: float) -> bool:
    """Whether a picture of that mean level is nearly black or nearly white."""
    return level < 2 * _BLACK_LEVEL or 255 - level < 2 * (255 - _WHITE_LEVEL)
