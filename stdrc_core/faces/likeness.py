"""A clip measured against a photo: FaceSim, the cosine of each frame, and whether it drifts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .drift import Drift, measure_drift
from .finder import EmbeddedFace, FaceFinder, largest
from .frames import rgb_levels
from .others import Others, count_others
from .similarity import clip_tic, cosines, facesim, find_padding, other_cosines

# Frames searched at once, and between two reports of progress; a long clip is never held twice.
BATCH_SIZE = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameLikeness:
    """A frame of the clip, its largest face, and that face's cosine with the photo's.

    `face` and `cosine` are None where no face is found. The cosine, -1 to 1, is not clamped.
    """

    index: int
    face: EmbeddedFace | None
    cosine: float | None
    other_cosines: tuple[float, ...] = ()
    """The cosines of the frame's other faces."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Likeness:
    """What was measured on a clip."""

    num_frames: int
    """How many frames the clip has."""
    frames: tuple[FrameLikeness, ...]
    """The frames that were looked at, in order, each once."""
    facesim: float
    """FaceSim (docs/method.md section 7), 0 to 1."""

    @property
    def with_face(self) -> tuple[FrameLikeness, ...]:
        return tuple(frame for frame in self.frames if frame.cosine is not None)

    @property
    def worst(self) -> FrameLikeness | None:
        """The frame least like the photo, of equals the first; None without a face."""
        return min(self.with_face, key=_cosine, default=None)

    @property
    def best(self) -> FrameLikeness | None:
        """The frame most like the photo, of equals the first; None without a face."""
        return max(self.with_face, key=_cosine, default=None)

    @property
    def drift(self) -> Drift | None:
        """The drift over the frames with a face; None with fewer than two."""
        return measure_drift(
            [each.index for each in self.frames], [each.cosine for each in self.frames]
        )

    @property
    def others(self) -> Others:
        """In which frames others than the scored face were seen."""
        return count_others(
            [each.cosine for each in self.frames], [each.other_cosines for each in self.frames]
        )

    @property
    def tic(self) -> float | None:
        """Temporal identity consistency (Eq. 10), 0 to 1. None without a face."""
        return clip_tic([each.face for each in self.frames])

    def report(self) -> dict[str, Any]:
        """All of it as plain values for JSON: FaceSim as `similarity` and tic as `consistency`, the
        names that saved workflows read; boxes are left, top, right and bottom in pixels."""
        drift = self.drift
        return {
            "similarity": self.facesim,
            "num_frames": self.num_frames,
            "num_scored": len(self.frames),
            "num_without_face": len(self.frames) - len(self.with_face),
            "num_with_others": self.others.num_frames,
            "num_other_nearer": self.others.num_nearer,
            "drift": None if drift is None else drift.slope,
            "drift_error": None if drift is None else drift.error,
            "consistency": self.tic,
            "best_frame": None if self.best is None else self.best.index,
            "worst_frame": None if self.worst is None else self.worst.index,
            "frames": [_plain(frame) for frame in self.frames],
        }


def measure_likeness(
    clip: Tensor,
    e_ref: Tensor,
    faces: FaceFinder,
    *,
    indices: Sequence[int],
    on_frames: Callable[[int], None] = lambda num_frames: None,
) -> Likeness:
    """Measures the frames `indices` of a clip `[F, h, w, 3]` against a photo's face `e_ref` `[D]`,
    or the faces of several photos (`gallery.gallery_embedding`).

    `clip` is uint8, or floating point in [0, 1] of 3 channels or more (RGB first). An index that
    comes twice is looked at once and counts twice, as FaceSim has it for short clips. A few frames
    are converted at a time; `on_frames` is told how many more are done, and may raise to stop.
    Raises ValueError, which calls the clip `images`, for values that are not finite or above 1.
    """
    order = sorted(set(indices))
    measured: dict[int, FrameLikeness] = {}
    for start in range(0, len(order), BATCH_SIZE):
        batch = order[start : start + BATCH_SIZE]
        # One by one: as floats, frames take four times as much.
        frames = torch.stack([rgb_levels(clip[index], "images") for index in batch])
        seen = find_padding(frames, faces)
        found = [largest(here) for here in seen]
        each_frame = zip(
            batch, found, cosines(found, e_ref), other_cosines(seen, e_ref), strict=True
        )
        for index, face, cosine, rest in each_frame:
            measured[index] = FrameLikeness(
                index=index, face=face, cosine=cosine, other_cosines=tuple(rest)
            )
        on_frames(len(batch))
    return Likeness(
        num_frames=len(clip),
        frames=tuple(measured[index] for index in order),
        facesim=facesim([measured[index].cosine for index in indices]),
    )


def ranking(similarities: Sequence[float]) -> list[int]:
    """Indices from the highest similarity to the lowest, equals in their own order."""
    return sorted(range(len(similarities)), key=lambda index: -similarities[index])


def _cosine(frame: FrameLikeness) -> float:
    assert frame.cosine is not None
    return frame.cosine


def _plain(frame: FrameLikeness) -> dict[str, Any]:
    face = None if frame.face is None else frame.face.face
    return {
        "frame": frame.index,
        "cosine": frame.cosine,
        "other_cosines": list(frame.other_cosines),
        "box": None if face is None else [round(side, 2) for side in face.box.tolist()],
        "detection_score": None if face is None else face.score,
    }
