"""Phi of Eq. 8: a pack's ArcFace, frozen, with gradients down to the pixels.

The same weights as the ONNX model that InsightFace runs, and the same numbers up to rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .align import is_crop_size, warp_face
from .onnx_file import read_onnx
from .onnx_module import OnnxModule
from .pack import FaceTask, read_pack

if TYPE_CHECKING:
    from onnx import GraphProto

# Grey levels: ArcFace takes (x - 127.5) / 127.5.
ARCFACE_MEAN = 127.5
ARCFACE_STD = 127.5
WHITE_LEVEL = 255.0
# InsightFace looks that far for a network that brings its own scaling.
_NUM_FIRST_NODES = 8


class Recognizer(nn.Module):
    """Embeds aligned face crops.

    Computes in the weights' precision, float32 unless `.double()` was called, also under autocast;
    on CUDA torch's own TF32 switches apply. `train()` and the optimiser find nothing to change;
    checkpoints hold none of its weights.
    """

    def __init__(
        self, network: OnnxModule, *, mean: float = ARCFACE_MEAN, std: float = ARCFACE_STD
    ):
        """`network` takes square RGB crops `[B, 3, S, S]`; `mean` and `std` are grey levels."""
        super().__init__()
        self.network = network
        self.mean = mean
        self.std = std

    @classmethod
    def from_pack(cls, folder: str | Path) -> Recognizer:
        """The recognition model of an InsightFace pack folder, for example buffalo_l.

        Raises ValueError when the folder is missing or has no such model, or when the model is
        damaged, uses an unknown operator or does not turn square crops into embeddings.
        """
        path = read_pack(folder).model(FaceTask.RECOGNITION)
        model = read_onnx(path)
        network = OnnxModule(model, path)
        channels, height, _ = network.input_shape[1:]
        if channels != 3 or not is_crop_size(height) or len(network.output_shape) != 2:
            raise ValueError(
                f"{path} turns {list(network.input_shape)} into {list(network.output_shape)}; "
                "needs RGB crops of a multiple of 112 or 128 pixels and embeddings [B, D]."
            )
        mean, std = input_scaling(model.graph)
        return cls(network, mean=mean, std=std)

    @property
    def size_px(self) -> int:
        """Side of the crops."""
        return self.network.input_shape[2]

    def forward(self, crops: Tensor) -> Tensor:
        """e = Phi(crop), of length 1: RGB `[B, 3, S, S]` in [0, 1] -> `[B, D]`, B may be 0.

        Raises ValueError for crops of another shape.
        """
        with torch.autocast(crops.device.type, enabled=False):
            levels = crops.to(self.network.dtype) * WHITE_LEVEL
            return F.normalize(self.network((levels - self.mean) / self.std), dim=-1)

    def embed_faces(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """Phi(Align(x)), one face per image: `[B, 3, H, W]` in [0, 1], `[B, 5, 2]` px -> `[B, D]`.

        Raises ValueError for other shapes.
        """
        return self(warp_face(images, landmarks, self.size_px))


def input_scaling(graph: GraphProto) -> tuple[float, float]:
    """Mean and standard deviation in grey levels, found as InsightFace finds them.

    A network from MXNet begins with its own subtraction and multiplication: (0, 1).
    """
    names = [node.name for node in graph.node[:_NUM_FIRST_NODES]]
    subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
    multiplies = any(name.startswith(("Mul", "_mul")) for name in names)
    return (0.0, 1.0) if subtracts and multiplies else (ARCFACE_MEAN, ARCFACE_STD)
