"""Faces as a finder would find them, for tests that know better than a network what is there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stdrc_core.faces.detector import Face
from stdrc_core.faces.finder import EmbeddedFace

BOX = (0, 0, 9, 9)


def found_face(
    box: Sequence[float] = BOX, landmarks: Tensor | None = None, score: float = 1.0
) -> Face:
    """A face in `box` (left, top, right, bottom), whose landmarks matter only where given."""
    points = torch.zeros(5, 2) if landmarks is None else landmarks.float()
    return Face(box=torch.tensor(box, dtype=torch.float32), landmarks=points, score=score)


def embedded_face(
    embedding: Sequence[float],
    box: Sequence[float] = BOX,
    landmarks: Tensor | None = None,
    score: float = 1.0,
) -> EmbeddedFace:
    embedding = torch.tensor(embedding, dtype=torch.float32)
    return EmbeddedFace(face=found_face(box, landmarks, score), embedding=embedding)
