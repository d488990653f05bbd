"""Which of a clip's faces is the reference's person in each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..faces.finder import EmbeddedFace


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """The reference's person through a clip of F frames; zeros where `has_face` is false."""

    boxes: Tensor
    landmarks: Tensor
    has_face: Tensor
    mean_cosine: float
    """Over the frames with a face; 0 where there is none."""


def follow(faces: Sequence[Sequence[EmbeddedFace]], e_ref: Tensor) -> Track:
    """In each frame the face most like the reference `[D]`, whoever else is in the picture."""
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
