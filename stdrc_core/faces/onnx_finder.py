"""Faces of frames with InsightFace's own numbers, several frames at once.

`FaceAnalysis.get` takes a frame at a time and runs every model of the pack on each face. Here only
the detector and the recogniser are loaded. On the CPU each worker takes a frame through a session
of one thread: scaling, decoding and suppression of a frame then run beside another's networks,
where one session of many threads would wait for them. Faces are embedded in batches.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .detector import Face, FaceDetector
from .embedder import FaceEmbedder
from .finder import EmbeddedFace
from .provider import CUDA_PROVIDER, Provider, execution_providers

# Face crops embedded at once; beyond this a batch is hardly faster, and takes more memory.
_BATCH_SIZE = 16
# Each worker holds a detector's activations.
_MAX_WORKERS = 8


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A face, the index of its frame, and its crop for the recogniser."""

    frame: int
    face: Face
    crop: np.ndarray


class OnnxFinder:
    """`FaceFinder` of an InsightFace pack, detector and ArcFace in ONNX Runtime.

    Boxes, landmarks and embeddings are those of InsightFace's `FaceAnalysis.get`.
    """

    def __init__(
        self, name: str, detector: FaceDetector, embedder: FaceEmbedder, *, num_workers: int = 1
    ) -> None:
        """`num_workers` frames are searched at once."""
        self.name, self.detector, self.embedder = name, detector, embedder
        self.num_workers = num_workers

    @property
    def provider(self) -> str:
        """The execution provider in use, in ONNX Runtime's word."""
        return self.detector.providers[0]

    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
        """The faces of frames `[F, h, w, 3]` uint8, best detection first; F may be 0."""

        def look(index: int) -> list[_Found]:
            # InsightFace takes BGR, as OpenCV reads it.
            pixels = np.ascontiguousarray(frames[index].numpy()[..., ::-1])
            return [
                _Found(frame=index, face=face, crop=self.embedder.crop(pixels, face.landmarks))
                for face in self.detector.detect_pixels(pixels)
            ]

        with ThreadPoolExecutor(self.num_workers) as pool:
            found = [each for faces in pool.map(look, range(len(frames))) for each in faces]
            size = self._batch_size(len(found))
            batches = [found[start : start + size] for start in range(0, len(found), size)]
            embeddings = pool.map(
                lambda batch: self.embedder.embed([each.crop for each in batch]), batches
            )
            embedded: list[list[EmbeddedFace]] = [[] for _ in range(len(frames))]
            for batch, rows in zip(batches, embeddings, strict=True):
                for each, row in zip(batch, rows, strict=True):
                    embedded[each.frame].append(EmbeddedFace(face=each.face, embedding=row))
        return [tuple(faces) for faces in embedded]

    def _batch_size(self, num_faces: int) -> int:
        """An even share for each worker, at most a full batch."""
        return max(1, min(_BATCH_SIZE, -(-num_faces // self.num_workers)))


def open_onnx_pack(
    folder: str | Path, *, provider: Provider = Provider.AUTO, device_index: int = 0
) -> OnnxFinder:
    """The detector and the recogniser of an InsightFace pack, both in ONNX Runtime.

    On the CPU as many workers as torch has threads, on CUDA (GPU `device_index`) one.
    Raises ValueError when the folder is missing, lacks one of the two models or has a damaged one,
    or when CUDA is asked for and not there.
    """
    on_cuda = execution_providers(provider)[0] == CUDA_PROVIDER
    num_workers = 1 if on_cuda else min(torch.get_num_threads(), _MAX_WORKERS)
    options = {
        "provider": provider,
        "device_index": device_index,
        "num_threads": None if on_cuda else 1,
    }
    return OnnxFinder(
        Path(folder).name,
        FaceDetector(folder, **options),
        FaceEmbedder(folder, **options),
        num_workers=num_workers,
    )
