"""Phi of Eq. 8: a pack's ArcFace, frozen, with gradients down to the pixels.

It has the weights of the ONNX model that InsightFace runs, and gives the same numbers up to
rounding.
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

# ArcFace takes (x - 127.5) / 127.5 of pixels x from 0 to 255.
ARCFACE_MEAN = 127.5
ARCFACE_STD = 127.5
WHITE_LEVEL = 255.0
# How many nodes InsightFace looks at to see whether a network scales its input itself.
_NUM_FIRST_NODES = 8


class Recognizer(nn.Module):
    """Embeds aligned face crops.

    It computes in the precision of its weights, under autocast too: float32, unless `.double()` was
    called. On CUDA torch's own TF32 switches apply. It has nothing that `train()` or an optimizer
    could change, and checkpoints hold none of its weights.
    """

    def __init__(
        self, network: OnnxModule, *, mean: float = ARCFACE_MEAN, std: float = ARCFACE_STD
    ):
        """`network` takes square RGB crops `[B, 3, S, S]`, scaled to (x - mean) / std.

        x, `mean` and `std` count from 0 to 255.
        """
        super().__init__()
        self.network = network
        self.mean = mean
        self.std = std

    @classmethod
    def from_pack(cls, folder: str | Path) -> Recognizer:
        """Loads the recognition model of an InsightFace pack, for example buffalo_l.

        Raises ValueError where the folder is missing or has no such model, and where the model is
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
        """The side S of the crops, in pixels."""
        return self.network.input_shape[2]

    def forward(self, crops: Tensor) -> Tensor:
        """Returns e = Phi(crop), `[B, D]` of length 1, for RGB crops `[B, 3, S, S]` in [0, 1].

        B may be 0. Raises ValueError for crops of another shape.
        """
        with torch.autocast(crops.device.type, enabled=False):
            levels = crops.to(self.network.dtype) * WHITE_LEVEL
            return F.normalize(self.network((levels - self.mean) / self.std), dim=-1)

    def embed_faces(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """Returns Phi(Align(x)), `[B, D]` of length 1, for one face in each image.

        `images` is RGB `[B, 3, H, W]` in [0, 1], and `landmarks` is `[B, 5, 2]`, (x, y) pixels.
        Raises ValueError for other shapes.
        """
        return self(warp_face(images, landmarks, self.size_px))


def input_scaling(graph: GraphProto) -> tuple[float, float]:
    """Returns the mean and standard deviation of a network's input, found as InsightFace does.

    They count from 0 to 255. A network from MXNet begins with a subtraction and a multiplication of
    its own, and gets (0, 1).
    """
    names = [node.name for node in graph.node[:_NUM_FIRST_NODES]]
    subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
    multiplies = any(name.startswith(("Mul", "_mul")) for name in names)
    return (0.0, 1.0) if subtracts and multiplies else (ARCFACE_MEAN, ARCFACE_STD)
