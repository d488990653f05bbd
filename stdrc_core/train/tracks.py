"""Faces of a clip, embedded, and which of them is the reference's person in each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..faces.detector import Face, FaceDetector
from ..faces.recognizer import Recognizer

# Face crops embedded at once.
_BATCH_SIZE = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedFace:
    """A face found in a frame, and who it is: `embedding` `[D]` of length 1."""

    face: Face
    embedding: Tensor


class FaceFinder(Protocol):
    """Finds and embeds the faces of frames `[F, h, w, 3]` uint8; `name` goes to the manifest."""

    name: str

    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]: ...


class PackFinder:
    """`FaceFinder` of an InsightFace pack: its detector and its ArcFace."""

    def __init__(self, name: str, detector: FaceDetector, recognizer: Recognizer) -> None:
        self.name, self.detector, self.recognizer = name, detector, recognizer

    @torch.no_grad()
    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
        images = frames.movedim(-1, 1)
        found = self.detector.detect(images)
        places = [(i, face) for i, faces in enumerate(found) for face in faces]
        embeddings: list[Tensor] = []
        for start in range(0, len(places), _BATCH_SIZE):
            indices, faces = zip(*places[start : start + _BATCH_SIZE], strict=True)
            points = torch.stack([face.landmarks for face in faces])
            embeddings += self.recognizer.embed_faces(images[list(indices)].float() / 255, points)
        embedded: list[list[EmbeddedFace]] = [[] for _ in found]
        for (i, face), embedding in zip(places, embeddings, strict=True):
            embedded[i].append(EmbeddedFace(face=face, embedding=embedding.float().cpu()))
        return [tuple(faces) for faces in embedded]


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


def largest(faces: Sequence[EmbeddedFace]) -> EmbeddedFace | None:
    """The face of the largest box; None when there is none."""
    return max(faces, key=lambda each: each.face.area_px, default=None)
