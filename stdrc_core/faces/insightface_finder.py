"""Faces as InsightFace itself aligns and embeds them, for scores that others have published.

`PackFinder` has the same weights in torch, with gradients; its warp keeps fractions of grey levels
that OpenCV rounds, which moves cosines by some 1e-4. Here they are InsightFace's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .detector import Face, FaceDetector
from .finder import CPU, EmbeddedFace
from .pack import FaceTask, read_pack
from .provider import CUDA_PROVIDER, Provider, execution_providers

# Face crops embedded at once.
_BATCH_SIZE = 16


class InsightFaceFinder:
    """`FaceFinder` of an InsightFace pack, by InsightFace's own API."""

    def __init__(self, name: str, detector: FaceDetector, model: Any) -> None:
        """`model` is InsightFace's `ArcFaceONNX`."""
        self.name, self.detector, self._model = name, detector, model
        # Some packs fix the batch at one face.
        self._batch_size = 1 if model.input_shape[0] == 1 else _BATCH_SIZE

    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
        found = self.detector.detect(frames.movedim(-1, 1))
        size_px = self._model.input_size[0]
        crops = [
            norm_crop(frame, face, size_px).flip(-1).numpy()
            for frame, faces in zip(frames, found, strict=True)
            for face in faces
        ]
        embeddings: list[Tensor] = []
        for start in range(0, len(crops), self._batch_size):
            features = self._model.get_feat(crops[start : start + self._batch_size])
            embeddings += F.normalize(torch.from_numpy(features), dim=-1)
        left = iter(embeddings)
        return [
            tuple(EmbeddedFace(face=face, embedding=next(left)) for face in faces)
            for faces in found
        ]


def norm_crop(frame: Tensor, face: Face, size_px: int) -> Tensor:
    """InsightFace's aligned crop `[size_px, size_px, 3]` of a face in `[h, w, 3]`, uint8 RGB."""
    from insightface.utils import face_align

    # Each channel is warped alone: their order does not matter.
    crop = face_align.norm_crop(frame.numpy(), face.landmarks.numpy(), size_px)
    return torch.from_numpy(crop)


def open_insightface(folder: Path, device: torch.device = CPU) -> InsightFaceFinder:
    """The detector and recogniser of a pack, on `device` where ONNX Runtime can; ValueError when
    the pack lacks one or it cannot be opened."""
    from insightface import model_zoo
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    provider = Provider.CPU if device.type == "cpu" else Provider.AUTO
    path = read_pack(folder).model(FaceTask.RECOGNITION)
    detector = FaceDetector(folder, provider=provider, device_index=device.index or 0)
    providers: list[Any] = execution_providers(provider)
    if providers[0] == CUDA_PROVIDER:
        providers[0] = (CUDA_PROVIDER, {"device_id": device.index or 0})
    try:
        model = model_zoo.get_model(str(path), providers=providers)
    except (
        errors.Fail,
        errors.InvalidGraph,
        errors.InvalidArgument,
        errors.NotImplemented,
    ) as error:
        raise ValueError(
            f"ONNX Runtime could not open the recogniser {path} ({error}); needs a sound ArcFace "
            "model: unpack the face pack again."
        ) from error
    return InsightFaceFinder(folder.name, detector, model)
