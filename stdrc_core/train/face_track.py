"""Finds the reference's person among the faces of a clip's frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..faces.finder import EmbeddedFace


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """The reference's person in a clip of F frames; boxes and landmarks are 0 without a face."""

    boxes: Tensor
    """`[F, 4]` float32 left, top, right, bottom in pixels."""
    landmarks: Tensor
    """`[F, 5, 2]` float32 (x, y) in pixels."""
    has_face: Tensor
    """Whether a frame shows any face, `[F]` bool."""
    mean_cosine: float
    """Mean cosine with the reference over the frames with a face; 0 where there is none."""


def follow(faces: Sequence[Sequence[EmbeddedFace]], e_ref: Tensor) -> Track:
    """Takes in each frame the face that is most like the reference `[D]`.

    `faces` has those of each frame in turn; both embeddings are of length 1.
    """
    boxes, landmarks = torch.zeros(len(faces), 4), torch.zeros(len(faces), 5, 2)
    has_face, cosines = torch.zeros(len(faces), dtype=torch.bool), []
    for i, here in enumerate(faces):
        if not here:
            continue
        alike = torch.stack([each.embedding for each in here]) @ e_ref
        best = int(alike.argmax())
        boxes[i], landmarks[i] = here[best].face.box, here[best].face.landmarks
        has_face[i] = True
        cosines.append(alike[best].item())
    mean = sum(cosines) / len(cosines) if cosines else 0.0
    return Track(boxes=boxes, landmarks=landmarks, has_face=has_face, mean_cosine=mean)
