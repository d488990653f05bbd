"""A pack's ArcFace as InsightFace runs it: the crop in grey levels, the network in ONNX Runtime.

These are the numbers that published scores are made of. `Recognizer` is the same network in torch,
with gradients; its crops are not rounded to grey levels, which moves a cosine by about 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .pack import FaceTask, read_pack
from .provider import Provider, check_providers
from .session import open_model


def norm_crop(pixels: np.ndarray, landmarks: Tensor, size_px: int) -> np.ndarray:
    """InsightFace's aligned crop `[size_px, size_px, 3]` of the face at `[5, 2]` px in
    `[H, W, 3]`, uint8; channels are warped alone, so that their order stays."""
    from insightface.utils import face_align

    return face_align.norm_crop(pixels, landmarks.numpy(), size_px)


class FaceEmbedder:
    """The recognition model of a pack; its calls may come from several threads at once.

    `providers` are the execution providers in use, as the session itself reports them.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        provider: Provider = Provider.AUTO,
        device_index: int = 0,
        num_threads: int | None = None,
    ):
        """Loads the recognition model of the pack in `folder`; arguments as `FaceDetector`'s.

        Raises ValueError when the folder is missing or has no such model, or when it cannot be
        opened.
        """
        path = read_pack(folder).model(FaceTask.RECOGNITION)
        self._model = open_model(
            path, FaceTask.RECOGNITION, Provider(provider), device_index, num_threads=num_threads
        )
        self.providers: tuple[str, ...] = tuple(self._model.session.get_providers())
        check_providers(Provider(provider), self.providers)

    @property
    def takes_batches(self) -> bool:
        """Whether the network was exported for any number of crops; else one at a time."""
        return not isinstance(self._model.input_shape[0], int)

    def crop(self, pixels: np.ndarray, landmarks: Tensor) -> np.ndarray:
        """The network's view of a face: frame `[H, W, 3]` uint8 in BGR, `[5, 2]` px."""
        return norm_crop(pixels, landmarks, self._model.input_size[0])

    def embed(self, crops: Sequence[np.ndarray]) -> Tensor:
        """Crops of `crop` to `[N, D]` float32 of length 1; N is at least 1."""
        if self.takes_batches:
            raw = self._model.get_feat(list(crops))
        else:
            raw = np.concatenate([self._model.get_feat(crop) for crop in crops])
        return F.normalize(torch.from_numpy(raw), dim=-1)
