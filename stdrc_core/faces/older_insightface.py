"""InsightFace before version 2, which other packs pin (0.7.3): opened so that it gives what 2 does.

Its own `get_model` leaves the session's options out, and its detector takes one size of input. Here
the session is opened first, and a frame is searched at several sizes as version 2 searches it: the
candidates of all sizes go through one suppression.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .pack import FaceTask

# Version 2's sizes for a detector that takes any.
_SIZES_PX = ((128, 128), (640, 640))
# Above this overlap two boxes are one face.
_MAX_OVERLAP = 0.4


def is_older(version: str) -> bool:
    """Returns whether an InsightFace of this version is one before version 2."""
    first = version.partition(".")[0]
    return first.isdecimal() and int(first) < 2


def open_older(path: Path, task: FaceTask, providers: Sequence[Any], options: Any) -> Any:
    """Returns InsightFace's object for a model; `options` are ONNX Runtime's of the session."""
    import onnxruntime
    from insightface import model_zoo

    session = onnxruntime.InferenceSession(
        str(path), providers=list(providers), sess_options=options
    )
    if task is FaceTask.DETECTION:
        return DetectorOfSizes(model_zoo.SCRFD(model_file=str(path), session=session))
    kind = {FaceTask.RECOGNITION: "ArcFaceONNX", FaceTask.GENDERAGE: "Attribute"}[task]
    return getattr(model_zoo, kind)(model_file=str(path), session=session)


class DetectorOfSizes:
    """An older InsightFace's SCRFD that searches at several sizes, with version 2's methods."""

    def __init__(self, detector: Any) -> None:
        """`detector` is InsightFace's; it belongs to this object from now on."""
        self._detector = detector
        # Its own suppression would drop candidates of one size before those of another are seen.
        detector.nms_thresh = float("inf")
        fixed = detector.input_size
        self._sizes = [tuple(fixed)] if fixed is not None else list(_SIZES_PX)
        self._is_fixed = fixed is not None
        self.session = detector.session
        self.use_kps, self.output_names = detector.use_kps, detector.output_names

    def prepare(
        self, ctx_id: int, *, input_size: Sequence[tuple[int, int]] | None, det_thresh: float
    ) -> None:
        """Sets the sizes (width, height) of the search, and the least score."""
        self._detector.prepare(ctx_id, det_thresh=det_thresh)
        if input_size is not None and not self._is_fixed:
            self._sizes = list(input_size)

    def detect(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns boxes with scores `[F, 5]` and landmarks `[F, 5, 2]`, the best score first."""
        found = [self._detector.detect(pixels, input_size=size) for size in self._sizes]
        boxes = np.vstack([each for each, _ in found])
        points = np.vstack([each for _, each in found])
        order = np.argsort(-boxes[:, 4], kind="stable")
        boxes, points = boxes[order], points[order]
        keep = _suppressed(boxes)
        return boxes[keep], points[keep]


def _suppressed(boxes: np.ndarray) -> list[int]:
    """Returns the indices of the boxes that overlap no better one; `boxes` are sorted by score."""
    left, top, right, bottom = boxes[:, :4].T
    areas = (right - left + 1) * (bottom - top + 1)
    waiting, keep = np.arange(len(boxes)), []
    while waiting.size:
        best, rest = waiting[0], waiting[1:]
        keep.append(int(best))
        width = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest]) + 1
        height = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest]) + 1
        shared = np.maximum(0, width) * np.maximum(0, height)
        waiting = rest[shared / (areas[best] + areas[rest] - shared) <= _MAX_OVERLAP]
    return keep
