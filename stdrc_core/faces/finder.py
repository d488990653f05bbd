"""Finds the faces of frames and embeds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from .detector import Face, FaceDetector
from .pack import pack_name
from .provider import Provider
from .recognizer import Recognizer

CPU = torch.device("cpu")
# How many face crops are embedded at once.
_BATCH_SIZE = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedFace:
    """A face that was found in a frame, and its embedding."""

    face: Face
    """Where the face is in the frame."""
    embedding: Tensor
    """The embedding `[D]` of the face: float32 of length 1, on the CPU."""


class FaceFinder(Protocol):
    """What finds and embeds the faces of frames."""

    name: str
    """The name of the face pack, which the manifest of a training cache records."""

    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
        """Returns the faces of each of the frames `[F, h, w, 3]` uint8, best detection first."""
        ...


class PackFinder:
    """The `FaceFinder` of an InsightFace pack, with its ArcFace as a torch module."""

    def __init__(
        self,
        name: str,
        detector: FaceDetector,
        recognizer: Recognizer,
        device: torch.device = CPU,
    ) -> None:
        """`recognizer` has to be on `device`."""
        self.name, self.detector, self.recognizer = name, detector, recognizer
        self.device = device

    @torch.no_grad()
    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
        """Returns the faces of each of the frames `[F, h, w, 3]` uint8, best detection first."""
        images = frames.movedim(-1, 1)
        found = self.detector.detect(images)
        places = [(i, face) for i, faces in enumerate(found) for face in faces]
        embeddings: list[Tensor] = []
        for start in range(0, len(places), _BATCH_SIZE):
            indices, faces = zip(*places[start : start + _BATCH_SIZE], strict=True)
            points = torch.stack([face.landmarks for face in faces]).to(self.device)
            crops = images[list(indices)].to(self.device).float() / 255
            embeddings += self.recognizer.embed_faces(crops, points)
        embedded: list[list[EmbeddedFace]] = [[] for _ in found]
        for (i, face), embedding in zip(places, embeddings, strict=True):
            embedded[i].append(EmbeddedFace(face=face, embedding=embedding.float().cpu()))
        return [tuple(faces) for faces in embedded]


def largest(faces: Sequence[EmbeddedFace]) -> EmbeddedFace | None:
    """Returns the face with the largest box, or None without faces."""
    return max(faces, key=lambda each: each.face.area_px, default=None)


def open_face_pack(folder: Path, device: torch.device = CPU) -> PackFinder:
    """Opens the detector and the recogniser of an InsightFace pack, both on `device`.

    The detector is on the CPU where ONNX Runtime has no CUDA; for a `device` of "cpu" it runs with
    torch's number of threads. Raises ValueError as `FaceDetector` and `Recognizer.from_pack` do.
    """
    on_cpu = device.type == "cpu"
    detector = FaceDetector(
        folder,
        provider=Provider.CPU if on_cpu else Provider.AUTO,
        device_index=device.index or 0,
        # By itself ONNX Runtime takes all cores, over which several processes would fight.
        num_threads=torch.get_num_threads() if on_cpu else None,
    )
    return PackFinder(pack_name(folder), detector, Recognizer.from_pack(folder).to(device), device)
