"""Faces in frames, by the detector of an InsightFace pack.

InsightFace is opened on a folder that exists and never downloads. Of the pack only the detector is
loaded, by the function that `FaceAnalysis` calls for every file of a folder.
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
from .provider import Provider, check_providers
from .session import open_model

MIN_SCORE = 0.5

# The detector's coarsest stride, and with it the step and the least of its input's sides.
_COARSEST_STRIDE_PX = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A face found in a frame; pixels of that frame, float32 on the CPU.

    `box` `[4]` left, top, right, bottom, which may hang over the frame; `landmarks` `[5, 2]`
    (x, y): left eye, right eye, nose, left and right corner of the mouth, as seen; `score` in
    [0, 1].
    """

    box: Tensor
    landmarks: Tensor
    score: float

    @property
    def area_px(self) -> float:
        """The box's area in square pixels; 0 for a box turned inside out."""
        width, height = (self.box[2:] - self.box[:2]).clamp(min=0).tolist()
        return width * height


def largest_face(faces: Iterable[Face]) -> Face | None:
    """The face of the largest box; of equals the first. None when there is none."""
    return max(faces, key=lambda face: face.area_px, default=None)


class FaceDetector:
    """The detector of a pack, loaded once for many frames.

    `providers` are the execution providers in use, as the session itself reports them.
    """

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

        `sizes_px` are the sides of the squares that a frame is scaled into, searched one after the
        other; None leaves it to InsightFace, which takes 128 (faces that fill the frame) and 640.
        A detector of a fixed size keeps to that. Faces below `min_score` are dropped. On CUDA
        `device_index` is the GPU. `num_threads` are those of one call on the CPU; None leaves it to
        ONNX Runtime.
        Raises ValueError when the folder is missing, has no detector or one without landmarks, when
        it cannot be opened, when CUDA is asked for and not there, or for a size that is no multiple
        of 32.
        """
        sizes_px = _checked_sizes(sizes_px)
        path = read_pack(folder).model(FaceTask.DETECTION)
        model = open_model(
            path, FaceTask.DETECTION, Provider(provider), device_index, num_threads=num_threads
        )
        self._model = _with_landmarks(model, path)
        self._model.prepare(0, input_size=sizes_px, det_thresh=min_score)
        self.providers: tuple[str, ...] = tuple(self._model.session.get_providers())
        check_providers(Provider(provider), self.providers)

    def detect(self, frames: Tensor) -> list[tuple[Face, ...]]:
        """The faces of each frame, best score first; an empty tuple where none is found.

        `frames` `[B, 3, H, W]` RGB, floating point in [0, 1] or uint8; B may be 0. Raises
        ValueError for another shape or dtype, values that are not finite or far from [0, 1], or
        frames more than 32 times as long as wide.
        """
        _check_frames(frames)
        return [self.detect_pixels(_as_opencv(to_uint8(frame))) for frame in frames]

    def detect_pixels(self, pixels: np.ndarray) -> tuple[Face, ...]:
        """The faces of one frame `[H, W, 3]` uint8 in BGR, as OpenCV reads it; best score first.

        May be called by several threads at once.
        """
        boxes, landmarks = self._model.detect(pixels)
        return tuple(
            Face(
                box=torch.tensor(box[:4], dtype=torch.float32),
                landmarks=torch.tensor(points, dtype=torch.float32),
                score=float(box[4]),
            )
            for box, points in zip(boxes, landmarks, strict=True)
        )


def _as_opencv(frame: Tensor) -> np.ndarray:
    """RGB `[3, H, W]` as InsightFace takes it, `[H, W, 3]` in BGR."""
    return frame.flip(0).permute(1, 2, 0).contiguous().numpy()


def _with_landmarks(model: Any, path: Path) -> Any:
    if not model.use_kps:
        raise ValueError(
            f"detector {path} has {len(model.output_names)} outputs and gives no landmarks; needs "
            "one with five landmarks a face (9 or 15 outputs), such as buffalo_l's det_10g.onnx."
        )
    return model


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
