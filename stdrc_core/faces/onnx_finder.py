"""Finds and embeds faces with InsightFace's own numbers, in several frames at once.

InsightFace's `FaceAnalysis.get` takes one frame at a time and runs every model of the pack on each
face. Here only the detector and the recogniser are loaded. On the CPU each worker takes a frame
through a session of one thread. So the scaling, decoding and suppression of one frame run while the
networks of other frames do; a session of many threads would stand still for them. Faces are
embedded in batches.
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
from .pack import pack_name
from .provider import CUDA_PROVIDER, Provider, execution_providers

# The most face crops that are embedded at once; larger batches are hardly faster and take more
# memory.
_BATCH_SIZE = 16
# Each worker holds the activations of a detector, which take memory.
_MAX_WORKERS = 8


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A face that is not embedded yet."""

    frame: int
    """The index of the face's frame."""
    face: Face
    """Where the face is in the frame."""
    crop: np.ndarray
    """The face's crop for the recogniser."""


class OnnxFinder:
    """The `FaceFinder` of an InsightFace pack with detector and ArcFace in ONNX Runtime.

    Boxes, landmarks and embeddings are those of InsightFace's `FaceAnalysis.get`.
    """

    def __init__(
        self, name: str, detector: FaceDetector, embedder: FaceEmbedder, *, num_workers: int = 1
    ) -> None:
        """`num_workers` is how many frames are searched at once."""
        self.name, self.detector, self.embedder = name, detector, embedder
        self.num_workers = num_workers

    @property
    def provider(self) -> str:
        """The execution provider in use, as ONNX Runtime names it."""
        return self.detector.providers[0]

    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
        """Returns the faces of each of the frames `[F, h, w, 3]` uint8, best detection first.

        F may be 0.
        """

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
        """Returns an even share of the faces for each worker, but at most a full batch."""
        return max(1, min(_BATCH_SIZE, -(-num_faces // self.num_workers)))


def open_onnx_pack(
    folder: str | Path, *, provider: Provider = Provider.AUTO, device_index: int = 0
) -> OnnxFinder:
    """Opens the detector and the recogniser of an InsightFace pack, both in ONNX Runtime.

    On the CPU there are as many workers as torch has threads, at most eight; on CUDA (the GPU
    `device_index`) there is one. Raises ValueError where the folder is missing, where it lacks one
    of the two models or has a damaged one, and where CUDA is asked for and not there.
    """
    on_cuda = execution_providers(provider)[0] == CUDA_PROVIDER
    num_workers = 1 if on_cuda else min(torch.get_num_threads(), _MAX_WORKERS)
    options = {
        "provider": provider,
        "device_index": device_index,
        "num_threads": None if on_cuda else 1,
    }
    return OnnxFinder(
        pack_name(Path(folder)),
        FaceDetector(folder, **options),
        FaceEmbedder(folder, **options),
        num_workers=num_workers,
    )
