"""Finds faces in frames by the detector of an InsightFace pack.

InsightFace is opened on a folder that exists, so that it never downloads. Only the detector of the
pack is loaded, by the function that InsightFace's `FaceAnalysis` calls for every file of a folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..uint8 import to_uint8
from .frames import check_aspect, check_values
from .pack import FaceTask, read_pack
from .provider import Provider
from .session import PackModel

MIN_SCORE = 0.5

# The detector's coarsest stride. The sides of its input have to be multiples of it.
_COARSEST_STRIDE_PX = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A face that was found in a frame. Its tensors are pixels of the frame, float32 on the CPU."""

    box: Tensor
    """The box `[4]`: left, top, right and bottom; it may hang over the frame's edge."""
    landmarks: Tensor
    """Five points `[5, 2]`, (x, y): left eye, right eye, nose, left and right corner of the mouth,
    with left and right as the frame shows them."""
    score: float
    """How sure the detector is, in [0, 1]."""

    @property
    def area_px(self) -> float:
        """The area of the box in square pixels; 0 for a box turned inside out."""
        width, height = (self.box[2:] - self.box[:2]).clamp(min=0).tolist()
        return width * height


def largest_face(faces: Iterable[Face]) -> Face | None:
    """Returns the face with the largest box, the first of equal ones, or None without faces."""
    return max(faces, key=lambda face: face.area_px, default=None)


class FaceDetector:
    """The detector of a pack, loaded once for many frames."""

    def __init__(
        self,
        folder: str | Path,
        *,
        provider: Provider = Provider.AUTO,
        sizes_px: Sequence[int] | None = None,
        min_score: float = MIN_SCORE,
        device_index: int = 0,
        num_threads: int | None = None,
    ):
        """Loads the detector of the pack in `folder`.

        A frame is scaled into squares with the sides `sizes_px`, which are searched one after
        another. None leaves the sides to InsightFace, which takes 128 (for faces that fill the
        frame) and 640. A detector of a fixed size takes that size alone. Faces with a score below
        `min_score` are dropped. `device_index` is the GPU on CUDA. `num_threads` is the number of
        threads of one call on the CPU; None leaves it to ONNX Runtime.

        Raises ValueError where the folder is missing, where it has no detector or one without
        landmarks, where the detector cannot be opened, where CUDA is asked for and not there, and
        for a size that is no multiple of 32.
        """
        sizes_px = _checked_sizes(sizes_px)
        path = read_pack(folder).model(FaceTask.DETECTION)

        def prepare(model: Any) -> None:
            _check_landmarks(model, path)
            model.prepare(0, input_size=sizes_px, det_thresh=min_score)

        self._model = PackModel(
            path,
            FaceTask.DETECTION,
            provider,
            device_index,
            num_threads=num_threads,
            prepare=prepare,
        )

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use, as ONNX Runtime's session reports them."""
        return self._model.providers

    def detect(self, frames: Tensor) -> list[tuple[Face, ...]]:
        """Returns the faces of each frame, best score first; an empty tuple where none is found.

        `frames` is `[B, 3, H, W]` RGB, floating point in [0, 1] or uint8; B may be 0. Raises
        ValueError for another shape or dtype, for values that are not finite or far from [0, 1],
        and for frames with a side more than 32 times as long as the other.
        """
        _check_frames(frames)
        return [self.detect_pixels(_as_opencv(to_uint8(frame))) for frame in frames]

    def detect_pixels(self, pixels: np.ndarray) -> tuple[Face, ...]:
        """Returns the faces of one frame, best score first.

        `pixels` is `[H, W, 3]` uint8 in BGR, as OpenCV reads it. Several threads may call this at
        once.
        """
        boxes, landmarks = self._model.run(lambda model: model.detect(pixels))
        return tuple(
            Face(
                box=torch.tensor(box[:4], dtype=torch.float32),
                landmarks=torch.tensor(points, dtype=torch.float32),
                score=float(box[4]),
            )
            for box, points in zip(boxes, landmarks, strict=True)
        )


def _as_opencv(frame: Tensor) -> np.ndarray:
    """Returns an RGB frame `[3, H, W]` as InsightFace takes it: `[H, W, 3]` in BGR."""
    return frame.flip(0).permute(1, 2, 0).contiguous().numpy()


def _check_landmarks(model: Any, path: Path) -> None:
    if not model.use_kps:
        raise ValueError(
            f"detector {path} has {len(model.output_names)} outputs and gives no landmarks; needs "
            "one with five landmarks a face (9 or 15 outputs), such as buffalo_l's det_10g.onnx."
        )


def _checked_sizes(sizes_px: Sequence[int] | None) -> list[tuple[int, int]] | None:
    if sizes_px is None:
        return None
    if not sizes_px or any(size <= 0 or size % _COARSEST_STRIDE_PX for size in sizes_px):
        raise ValueError(
            f"sizes_px was {list(sizes_px)}; needs one or more multiples of {_COARSEST_STRIDE_PX}."
        )
    return [(size, size) for size in sizes_px]


def _check_frames(frames: Tensor) -> None:
    sides = list(frames.shape)
    if frames.ndim != 4 or sides[1] != 3 or 0 in sides[2:]:
        raise ValueError(f"frames had shape {sides}; needs RGB frames [B, 3, height, width].")
    check_aspect(*sides[2:], "frames")
    check_values(frames, "frames")
