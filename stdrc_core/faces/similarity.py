"""How much a clip is a person: cosines of ArcFace embeddings (FaceSim, SPEC section 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .finder import EmbeddedFace, FaceFinder, largest

NUM_SCORED_FRAMES = 16
# A face that fills the frame is looked for once more with this share of grey on each side.
PAD_SHARE, PAD_GREY = 0.25, 128


def face_sim(frames: Tensor, e_ref: Tensor, faces: FaceFinder) -> float:
    """FaceSim of a clip `[F, h, w, 3]` uint8 with a photo's embedding `[D]`.

    The mean over 16 frames of the largest face's cosine, clamped at 0; frames without a face are
    left out, and where none has one it is 0.0.
    """
    scored = frames[spread(len(frames), NUM_SCORED_FRAMES)]
    return clip_score(frame_cosines(scored, e_ref, faces))


def clip_score(cosines: Sequence[float | None]) -> float:
    """FaceSim of the scored frames' cosines, None where a frame has no face."""
    found = [max(0.0, each) for each in cosines if each is not None]
    return sum(found) / len(found) if found else 0.0


def frame_cosines(frames: Tensor, e_ref: Tensor, faces: FaceFinder) -> list[float | None]:
    """The largest face's cosine with `e_ref` `[D]` in each frame of `[F, h, w, 3]` uint8; None
    where no face is found."""
    found = largest_embeddings(frames, faces)
    return [None if each is None else float(each @ e_ref) for each in found]


def largest_embeddings(frames: Tensor, faces: FaceFinder) -> list[Tensor | None]:
    """The largest face's embedding in each frame; looked for again on the padded frame."""
    found = largest_faces(frames, faces)
    return [None if each is None else each.embedding for each in found]


def largest_faces(frames: Tensor, faces: FaceFinder) -> list[EmbeddedFace | None]:
    """The largest face in each frame, in that frame's pixels; looked for again on the padded
    frame, on which it is then embedded."""
    chosen: list[EmbeddedFace | None] = []
    for frame, found in zip(frames, faces.find(frames), strict=True):
        face = largest(found)
        if face is None:
            face = largest(faces.find(_padded(frame)[None])[0])
            face = None if face is None else _moved(face, frame)
        chosen.append(face)
    return chosen


def spread(num_frames: int, count: int) -> list[int]:
    """`count` indices evenly over a clip, rounded down; a short clip's repeat."""
    return np.linspace(0, num_frames - 1, count, dtype=int).tolist()


def _pads(frame: Tensor) -> tuple[int, int]:
    height, width, _ = frame.shape
    return int(width * PAD_SHARE), int(height * PAD_SHARE)


def _moved(found: EmbeddedFace, frame: Tensor) -> EmbeddedFace:
    """From the padded frame's pixels to the frame's own."""
    shift = torch.tensor(_pads(frame), dtype=torch.float32)
    face = replace(
        found.face,
        box=found.face.box - shift.repeat(2),
        landmarks=found.face.landmarks - shift,
    )
    return replace(found, face=face)


def _padded(frame: Tensor) -> Tensor:
    left, top = _pads(frame)
    return F.pad(frame, (0, 0, left, left, top, top), value=PAD_GREY)
