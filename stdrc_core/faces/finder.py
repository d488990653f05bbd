"""Faces of frames, found and embedded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from .detector import Face, FaceDetector
from .provider import Provider
from .recognizer import Recognizer

CPU = torch.device("cpu")
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

    def __init__(
        self,
        name: str,
        detector: FaceDetector,
        recognizer: Recognizer,
        device: torch.device = CPU,
    ) -> None:
        """`recognizer` is on `device`."""
        self.name, self.detector, self.recognizer = name, detector, recognizer
        self.device = device

    @torch.no_grad()
    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
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
    """The face of the largest box; None when there is none."""
    return max(faces, key=lambda each: each.face.area_px, default=None)


def open_face_pack(folder: Path, device: torch.device = CPU) -> PackFinder:
    """The detector and recogniser of an InsightFace pack, both on `device` (the detector where
    ONNX Runtime can, on the CPU with torch's number of threads); ValueError when it lacks one."""
    on_cpu = device.type == "cpu"
    detector = FaceDetector(
        folder,
        provider=Provider.CPU if on_cpu else Provider.AUTO,
        device_index=device.index or 0,
        # ONNX Runtime's own choice is all cores, which several processes would fight over.
        num_threads=torch.get_num_threads() if on_cpu else None,
    )
    return PackFinder(folder.name, detector, Recognizer.from_pack(folder).to(device), device)
