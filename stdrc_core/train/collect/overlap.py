"""How far two boxes overlap."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """The intersection of two boxes (left, top, right, bottom) over their union, 0 to 1."""
    a, b = [float(x) for x in one], [float(x) for x in other]
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared)


def ious(ones: Tensor, others: Tensor) -> Tensor:
    """The same of many pairs: of boxes `[n, 4]` and `[n, 4]`, `[n]`."""
    low, high = torch.maximum(ones[:, :2], others[:, :2]), torch.minimum(ones[:, 2:], others[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=1)
    areas = sum((boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (ones, others))
    return shared / (areas - shared)
