"""A face recogniser of the size of InsightFace's buffalo_l, for rehearsals without a face pack.

buffalo_l's recogniser is ArcFace's ResNet-50 (w600k_r50): 43.6 million weights, 174 MB. The one
here has the same layers, and empty weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .align import ARCFACE_SIZE_PX
from .recognizer import Recognizer

# The width of each stage and how many blocks it has; each stage halves the sides.
_STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))
NUM_FEATURES = 512


class _Block(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        # ONNX files hold the second and third normalisation inside the convolutions before them.
        self.norm = nn.BatchNorm2d(width_in)
        self.first = nn.Conv2d(width_in, width, 3, 1, 1)
        self.slope = nn.PReLU(width)
        self.second = nn.Conv2d(width, width, 3, stride, 1)
        self.shortcut = nn.Conv2d(width_in, width, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.slope(self.first(self.norm(x)))) + self.shortcut(x)


class _ArcFace50(nn.Module):
    """`[B, 3, 112, 112]` to `[B, 512]`, with the attributes that `Recognizer` asks of a network."""

    input_shape = (None, 3, ARCFACE_SIZE_PX, ARCFACE_SIZE_PX)
    output_shape = (None, NUM_FEATURES)

    def __init__(self) -> None:
        super().__init__()
        blocks, width_in = [], _STAGES[0][0]
        for width, num_blocks in _STAGES:
            for i in range(num_blocks):
                blocks.append(_Block(width_in, width, 1 if i else 2))
                width_in = width
        side = ARCFACE_SIZE_PX // 2 ** len(_STAGES)
        self.stem = nn.Sequential(nn.Conv2d(3, _STAGES[0][0], 3, 1, 1), nn.PReLU(_STAGES[0][0]))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(width_in)
        self.features = nn.Linear(width_in * side * side, NUM_FEATURES)
        self.last_norm = nn.BatchNorm1d(NUM_FEATURES)

    @property
    def dtype(self) -> torch.dtype:
        return self.features.weight.dtype

    def forward(self, x: Tensor) -> Tensor:
        maps = self.norm(self.blocks(self.stem(x)))
        return self.last_norm(self.features(maps.flatten(1)))


def sized_recognizer(device: torch.device) -> Recognizer:
    """Returns a frozen recogniser of buffalo_l's size with empty weights on `device`."""
    with torch.device("meta"):
        network = _ArcFace50().eval()
    state = {
        key: torch.empty(value.shape, dtype=value.dtype, device=device)
        for key, value in network.state_dict().items()
    }
    network.load_state_dict(state, assign=True)
    return Recognizer(network.requires_grad_(False))
