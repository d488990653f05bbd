"""A pack's ArcFace as InsightFace runs it: on crops of uint8, and in ONNX Runtime.

Published scores are made of these numbers. `Recognizer` is the same network in torch, with
gradients. Its crops are not rounded to uint8, which changes a cosine by about 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .pack import FaceTask, read_pack
from .provider import Provider
from .session import PackModel


def norm_crop(pixels: np.ndarray, landmarks: Tensor, size_px: int) -> np.ndarray:
    """Returns InsightFace's aligned crop of a face: `[size_px, size_px, 3]` uint8.

    `pixels` is the frame `[H, W, 3]` uint8, and `landmarks` is `[5, 2]`, (x, y) pixels of it. The
    order of the channels stays, RGB or BGR.
    """
    from insightface.utils import face_align

    return face_align.norm_crop(pixels, landmarks.numpy(), size_px)


class FaceEmbedder:
    """The recognition model of a pack, which several threads may call at once."""

    def __init__(
        self,
        folder: str | Path,
        *,
        provider: Provider = Provider.AUTO,
        device_index: int = 0,
        num_threads: int | None = None,
    ):
        """Loads the recognition model of the pack in `folder`.

        The other arguments are as in `FaceDetector`. Raises ValueError where the folder is missing
        or has no such model, where the model cannot be opened, and where CUDA is asked for and not
        there.
        """
        path = read_pack(folder).model(FaceTask.RECOGNITION)
        self._model = PackModel(
            path, FaceTask.RECOGNITION, provider, device_index, num_threads=num_threads
        )

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use, as ONNX Runtime's session reports them."""
        return self._model.providers

    @property
    def takes_batches(self) -> bool:
        """Whether the network takes any number of crops at once; if not, it takes one at a time."""
        return not isinstance(self._model.input_shape[0], int)

    def crop(self, pixels: np.ndarray, landmarks: Tensor) -> np.ndarray:
        """Returns the crop of a face that the network takes: `[S, S, 3]` uint8 in BGR.

        `pixels` is the frame `[H, W, 3]` uint8 in BGR; `landmarks` is `[5, 2]`, (x, y) pixels.
        """
        return norm_crop(pixels, landmarks, self._model.input_size[0])

    def embed(self, crops: Sequence[np.ndarray]) -> Tensor:
        """Returns the embeddings `[N, D]`, float32 of length 1, of N crops made by `crop`.

        N is at least 1.
        """
        if self.takes_batches:
            raw = self._model.run(lambda model: model.get_feat(list(crops)))
        else:
            each = [
                self._model.run(lambda model, crop=crop: model.get_feat(crop)) for crop in crops
            ]
            raw = np.concatenate(each)
        return F.normalize(torch.from_numpy(raw), dim=-1)
