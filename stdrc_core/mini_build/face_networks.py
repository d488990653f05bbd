"""The networks of the miniature face pack: SCRFD and ArcFace in small, with InsightFace's shapes.

They have only operators that InsightFace can run and `faces.onnx_module` can differentiate.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (8, 16, 32)
# SCRFD has two anchors in each cell; here both learn the same.
NUM_ANCHORS = 2
_WIDTHS = (16, 32, 48, 64)


class IRBlock(nn.Module):
    """ArcFace's improved residual block: BN, conv, BN, PReLU, conv of the block's stride, BN; and a
    shortcut."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(width_in),
            nn.Conv2d(width_in, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


class RecognitionNet(nn.Sequential):
    """Maps RGB crops `[B, 3, 112, 112]` as (x - 127.5) / 127.5 to embeddings `[B, num_features]`,
    whose length is not 1."""

    def __init__(self, num_features: int = 128) -> None:
        first, *_, last = _WIDTHS
        super().__init__(
            nn.Conv2d(3, first, 3, 2, 1, bias=False),  # 56 x 56
            nn.BatchNorm2d(first),
            nn.PReLU(first),
            *(
                IRBlock(width_in, width, 2)  # 28, 14, 7
                for width_in, width in itertools.pairwise(_WIDTHS)
            ),
            nn.Conv2d(last, 32, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, num_features),
            nn.BatchNorm1d(num_features),
        )


class DetectionNet(nn.Module):
    """Maps RGB frames `[B, 3, S, S]` as (x - 127.5) / 128 to SCRFD's maps.

    Each stride has three maps `[B, anchors * k, S / stride, S / stride]`: the score's logit
    (k = 1), the distances to the box's left, top, right and bottom (k = 4), and the dx and dy of
    five landmarks (k = 10). Distances are in strides.
    """

    def __init__(self) -> None:
        super().__init__()
        first, *_, last = _WIDTHS
        self.stem = nn.Sequential(_conv(3, first, 2), _conv(first, 24, 2))
        self.stages = nn.ModuleList(
            nn.Sequential(_conv(width_in, width, 2), _conv(width, width, 1))
            for width_in, width in zip((24, *_WIDTHS[1:-1]), _WIDTHS[1:], strict=True)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width, last, 1) for width in _WIDTHS[1:])
        self.heads = nn.ModuleList(
            nn.Sequential(_conv(last, last, 1), nn.Conv2d(last, NUM_ANCHORS * 15, 1))
            for _ in STRIDES
        )

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        x = self.stem(x)
        maps = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            maps.append(lateral(x))
        # The finer maps are helped by what the coarser ones see as a whole.
        for i in (1, 0):
            maps[i] = maps[i] + F.interpolate(maps[i + 1], scale_factor=2.0, mode="nearest")
        outputs = []
        for head, features in zip(self.heads, maps, strict=True):
            raw = head(features)
            outputs.append(raw.split([NUM_ANCHORS, NUM_ANCHORS * 4, NUM_ANCHORS * 10], dim=1))
        return outputs


class ScrfdOutputs(nn.Module):
    """`DetectionNet` with SCRFD's nine outputs: scores, boxes and landmarks of each stride, in rows
    of (y, x, anchor)."""

    def __init__(self, network: DetectionNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        scores, boxes, points = zip(*self.network(x), strict=True)
        return [
            *(_rows(score).sigmoid() for score in scores),
            *(_rows(box) for box in boxes),
            *(_rows(point) for point in points),
        ]


def _rows(maps: Tensor) -> Tensor:
    """Rows `[h * w * anchors, k]` of maps `[1, anchors * k, h, w]`."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1] // NUM_ANCHORS)


def _conv(width_in: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width, 3, stride, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.PReLU(width),
    )


def stack_maps(outputs: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """The maps of all strides joined to N anchors: scores `[B, N]`, boxes `[B, N, 4]` and landmarks
    `[B, N, 10]`."""
    flat = [
        torch.cat([m.permute(0, 2, 3, 1).reshape(len(m), -1, k) for m in maps], dim=1)
        for k, maps in zip((1, 4, 10), zip(*outputs, strict=True), strict=True)
    ]
    return flat[0][..., 0], flat[1], flat[2]
