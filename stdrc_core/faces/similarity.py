"""How much a clip is a person (FaceSim, docs/method.md section 7) and stays one (tic, Eq. 10).

Both are cosines of ArcFace embeddings: FaceSim with the photo's face, tic with the clip's own mean
face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..method.identity import tic
from .finder import EmbeddedFace, FaceFinder, largest

NUM_SCORED_FRAMES = 16
# A face that fills the frame is looked for once more with this share of grey on each side.
PAD_SHARE, PAD_GREY = 0.25, 128


class Embedded(Protocol):
    """Whatever has a face's embedding, `[D]` of length 1."""

    embedding: Tensor


def cosine_with(embedding: Tensor, e_ref: Tensor) -> float:
    """The cosine, -1 to 1, of a face's embedding `[D]` with a photo's, `[D]`, or with the nearest
    of P photos', `[P, D]`. All that takes an `e_ref` here takes either."""
    if e_ref.ndim == 2:
        return float((e_ref @ embedding).max())
    return float(embedding @ e_ref)


def clip_facesim(frames: Tensor, e_ref: Tensor, faces: FaceFinder) -> float:
    """FaceSim, 0 to 1, of a clip `[F, h, w, 3]` uint8 with a photo's embedding `[D]`.

    The mean over 16 frames of the largest face's cosine, clamped at 0; frames without a face are
    left out, and where none has one it is 0.0.
    """
    scored = frames[spread(len(frames), NUM_SCORED_FRAMES)]
    return facesim(frame_cosines(scored, e_ref, faces))


def clip_facesims(frames: Tensor, e_refs: Sequence[Tensor], faces: FaceFinder) -> list[float]:
    """FaceSim of a clip with each of several photos, as `clip_facesim` has it, but of the face in
    each frame that is most like the photo's."""
    scored = frames[spread(len(frames), NUM_SCORED_FRAMES)]
    return [facesim(each) for each in best_cosines(scored, e_refs, faces)]


def facesim(cosines: Sequence[float | None]) -> float:
    """FaceSim, 0 to 1, from the scored frames' cosines: None stands for a frame without a face."""
    found = [max(0.0, each) for each in cosines if each is not None]
    return sum(found) / len(found) if found else 0.0


def clip_tic(found: Sequence[Embedded | None]) -> float | None:
    """The tic (Eq. 10) of a clip's faces, 0 to 1; None without a face.

    `found` has the face of each scored frame, None for a frame without one, which is left out.
    """
    embeddings = [each.embedding for each in found if each is not None]
    return float(tic(torch.stack(embeddings))) if embeddings else None


def frame_cosines(frames: Tensor, e_ref: Tensor, faces: FaceFinder) -> list[float | None]:
    """The largest face's cosine with `e_ref` `[D]` in each frame of `[F, h, w, 3]` uint8; None
    where no face is found."""
    return cosines(largest_faces(frames, faces), e_ref)


def best_cosines(
    frames: Tensor, e_refs: Sequence[Tensor], faces: FaceFinder
) -> list[list[float | None]]:
    """For each of several embeddings `[D]`, the cosine of the face most like it in each frame of
    `[F, h, w, 3]` uint8; None where no face is found. One face may be the best for two of them."""
    found = find_padding(frames, faces)
    return [
        [max((cosine_with(each.embedding, e_ref) for each in here), default=None) for here in found]
        for e_ref in e_refs
    ]


def cosines(found: Sequence[Embedded | None], e_ref: Tensor) -> list[float | None]:
    """Each face's cosine with `e_ref` `[D]`, -1 to 1; None for a frame without a face."""
    return [None if each is None else cosine_with(each.embedding, e_ref) for each in found]


def other_cosines(found: Sequence[Sequence[Embedded]], e_ref: Tensor) -> list[list[float]]:
    """For the faces of each frame, the cosines with `e_ref` `[D]` of all but the largest."""
    rest = [[each for each in here if each is not largest(here)] for here in found]
    return [[cosine_with(each.embedding, e_ref) for each in here] for here in rest]


def largest_embeddings(frames: Tensor, faces: FaceFinder) -> list[Tensor | None]:
    """The embedding `[D]` of the largest face in each frame, found as `largest_faces` does."""
    found = largest_faces(frames, faces)
    return [None if each is None else each.embedding for each in found]


def largest_faces(frames: Tensor, faces: FaceFinder) -> list[EmbeddedFace | None]:
    """The largest face of each frame of `[F, h, w, 3]` uint8, in pixels of that frame.

    A frame without one is looked at once more, padded; None where there is none then either.
    """
    return [largest(found) for found in find_padding(frames, faces)]


def find_padding(frames: Tensor, faces: FaceFinder) -> list[tuple[EmbeddedFace, ...]]:
    """What `faces.find` finds in each frame `[h, w, 3]` uint8, in pixels of that frame.

    A frame without a face is looked at once more with grey around it (`pad_grey`).
    """
    found = faces.find(frames)
    bare = [i for i, each in enumerate(found) if not each]
    if bare:
        padded, (left, top) = pad_grey(frames[bare])
        shift = padded.new_tensor([left, top]).float()
        for i, each in zip(bare, faces.find(padded), strict=True):
            found[i] = tuple(_moved(face, -shift) for face in each)
    return found


def scored_indices(num_frames: int, count: int) -> list[int]:
    """Which frames are scored: `count` evenly over the clip, or all of them where it is 0."""
    return spread(num_frames, count) if count else list(range(num_frames))


def spread(num_frames: int, count: int) -> list[int]:
    """`count` frame numbers evenly over a clip, rounded down; those of a short clip repeat."""
    return np.linspace(0, num_frames - 1, count, dtype=int).tolist()


def pad_grey(frames: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Frames `[F, h, w, 3]` with grey around them, and the grey's width and height at their left
    and top, in pixels."""
    height, width = frames.shape[1:3]
    top, left = int(height * PAD_SHARE), int(width * PAD_SHARE)
    return F.pad(frames, (0, 0, left, left, top, top), value=PAD_GREY), (left, top)


def _moved(each: EmbeddedFace, shift: Tensor) -> EmbeddedFace:
    """The face with its place moved by (x, y) pixels."""
    box, landmarks = each.face.box + shift.repeat(2), each.face.landmarks + shift
    return replace(each, face=replace(each.face, box=box, landmarks=landmarks))
