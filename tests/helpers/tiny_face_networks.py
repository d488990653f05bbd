"""Small ONNX networks and face packs in InsightFace's layout, exported from torch."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from stdrc_core.mini_build.face_networks import IRBlock

STRIDES = (8, 16, 32)
NUM_ANCHORS = 2


def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights, slopes and running statistics away from their defaults, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d):
            each.running_mean.normal_(0, 0.3, generator=generator)
            each.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(each.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(each.bias, 0, 0.3, generator=generator)
        elif isinstance(each, nn.PReLU):
            nn.init.uniform_(each.weight, -0.3, 0.5, generator=generator)
        elif isinstance(each, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(each.weight, generator=generator)
            if each.bias is not None:
                nn.init.normal_(each.bias, 0, 0.3, generator=generator)
    return module.eval()


def ir_net(num_features: int = 32, width: int = 8) -> nn.Sequential:
    """ArcFace's r50 in small: stem, IR blocks, BN, dropout, flatten, linear, BN; 112 x 112."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.PReLU(width),
        IRBlock(width, width, 2),
        IRBlock(width, 2 * width, 2),
        nn.BatchNorm2d(2 * width),
        nn.Dropout(0.4),
        nn.Flatten(),
        nn.Linear(2 * width * 14 * 14, num_features),
        nn.BatchNorm1d(num_features),
    )


class DepthWise(nn.Module):
    """MobileFaceNet's bottleneck: 1 x 1, depthwise, 1 x 1, and the input added where it fits."""

    def __init__(self, width_in: int, width: int, stride: int, groups: int):
        super().__init__()
        self.body = nn.Sequential(
            *_conv_bn(width_in, groups, 1, 1),
            nn.PReLU(groups),
            *_conv_bn(groups, groups, 3, stride, groups),
            nn.PReLU(groups),
            *_conv_bn(groups, width, 1, 1),
        )
        self.adds = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.adds else self.body(x)


class View(nn.Module):
    """`x.view(x.size(0), -1)`, which exports as Shape, Gather, Unsqueeze, Concat, Reshape."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1)


def mobile_face_net(num_features: int = 16) -> nn.Sequential:
    """MobileFaceNet in small, with its global depthwise convolution; 112 x 112."""
    return nn.Sequential(
        *_conv_bn(3, 8, 3, 2),
        nn.PReLU(8),
        DepthWise(8, 8, 1, 16),
        DepthWise(8, 16, 2, 24),
        DepthWise(16, 16, 2, 32),
        *_conv_bn(16, 16, 14, 1, 16, padding=0),
        View(),
        nn.Linear(16, num_features, bias=False),
        nn.BatchNorm1d(num_features),
    )


def _conv_bn(
    width_in: int, width: int, kernel: int, stride: int, groups: int = 1, padding: int | None = None
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    padding = kernel // 2 if padding is None else padding
    conv = nn.Conv2d(width_in, width, kernel, stride, padding, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(width)


class RandomDetector(nn.Module):
    """A random network with SCRFD's nine outputs: scores, boxes, landmarks of strides 8, 16, 32."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(3, NUM_ANCHORS * n, stride, stride) for stride in STRIDES)
            for n in (1, 4, 10)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        scores, boxes, points = (
            [
                head(x).permute(0, 2, 3, 1).reshape(-1, head.out_channels // NUM_ANCHORS)
                for head in heads
            ]
            for heads in self.heads
        )
        return [*(score.sigmoid() for score in scores), *(box.abs() for box in boxes), *points]


class SquareDetector(RandomDetector):
    """Finds a white 8 x 8 square that fills a cell of the finest stride, and nothing else.

    The face's box and landmarks are `box` `[l, t, r, b]` and `points` `[5, 2]`, in pixels of the
    detector's input around the square's first pixel. `color` is the RGB that the score asks for.
    """

    def __init__(self, box: Tensor, points: Tensor, color: tuple[float, float, float]):
        super().__init__()
        for head in self.heads.modules():
            if isinstance(head, nn.Conv2d):
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)
        for head in self.heads[0]:
            nn.init.constant_(head.bias, -20.0)
        # Channel sums of a cell in its colour are 64 each: the score rises only near its middle.
        with torch.no_grad():
            finest = self.heads[0][0]
            finest.weight[0] = torch.tensor(color)[:, None, None] / 64
            finest.bias[0] = -sum(abs(c) for c in color) * 0.9
            finest.weight[0] *= 40
            finest.bias[0] *= 40
            self.heads[1][0].bias[:4] = box / STRIDES[0]
            self.heads[2][0].bias[:10] = points.flatten() / STRIDES[0]


class GenderByRed(nn.Module):
    """InsightFace's gender and age of a crop: a man where red is above the other colours' mean."""

    def forward(self, x: Tensor) -> Tensor:
        red, green, blue = x.mean(dim=(2, 3)).unbind(dim=1)
        is_red = red - (green + blue) / 2
        return torch.stack((-is_red, is_red, is_red * 0 + 0.3), dim=1)


def export(
    network: nn.Module,
    path: Path,
    example: Tensor,
    *,
    free: tuple[int, ...] = (0,),
    opset: int = 11,
    num_outputs: int = 1,
) -> Path:
    """The network as an ONNX file; `free` are the input's axes of any size."""
    outputs = [f"output_{i}" for i in range(num_outputs)]
    axes = {"input": {axis: f"axis_{axis}" for axis in free}} if free else {}
    if 0 in free or num_outputs > 1:
        axes |= {name: {0: f"rows_{name}"} for name in outputs if free}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=["input"],
            output_names=outputs,
            dynamic_axes=axes,
        )
    return path


def export_detector(network: nn.Module, path: Path, size_px: int | None = None) -> Path:
    """A detector of a fixed input size, or of any."""
    side = size_px or 64
    free = () if size_px else (2, 3)
    return export(network, path, torch.zeros(1, 3, side, side), free=free, num_outputs=9)


def export_genderage(network: nn.Module, path: Path) -> Path:
    return export(network, path, torch.zeros(1, 3, 96, 96))


def export_recognizer(network: nn.Module, path: Path, *, size_px: int = 112, **options) -> Path:
    return export(network, path, torch.zeros(1, 3, size_px, size_px), **options)


def onnxruntime_output(path: Path, x: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
