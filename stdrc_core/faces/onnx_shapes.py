"""The ONNX operators that move numbers and compute nothing, in torch.

They are built as those of `onnx_layers`. Sizes, axes and indices are integer tensors that stay on
the CPU, wherever the pixels are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .onnx_layers import Factory, Run, require


def flatten(*, axis: int = 1) -> Run:
    """Returns Flatten to two axes: all before `axis`, and all from it on."""

    def run(x: Tensor) -> Tensor:
        rows = x.shape[:axis].numel()
        return x.reshape(rows, x.numel() // rows if rows else x.shape[axis:].numel())

    return run


def reshape(*, allowzero: int = 0) -> Run:
    """Returns Reshape, where a 0 in the shape keeps the input's size and -1 takes what is left."""
    require("allowzero", allowzero, 0)

    def run(x: Tensor, shape: Tensor) -> Tensor:
        sides = [x.shape[i] if side == 0 else side for i, side in enumerate(shape.tolist())]
        return x.reshape(sides)

    return run


def transpose(*, perm: Sequence[int] | None = None) -> Run:
    """Returns Transpose, which reverses all axes where `perm` is None."""
    return lambda x: x.permute(*(reversed(range(x.ndim)) if perm is None else perm))


def concat(*, axis: int) -> Run:
    """Returns Concat of any number of tensors along `axis`."""
    return lambda *parts: torch.cat(parts, dim=axis)


def shape(*, start: int = 0, end: int | None = None) -> Run:
    """Returns Shape, which gives the sizes of the axes from `start` up to `end` as int64."""
    return lambda x: torch.tensor(x.shape[start:end], dtype=torch.int64)


def gather(*, axis: int = 0) -> Run:
    """Returns Gather, which picks indices of any shape along `axis`; they may be negative."""

    def run(x: Tensor, indices: Tensor) -> Tensor:
        dim = axis % x.ndim
        indices = indices.to(x.device)
        picked = x.index_select(dim, (indices % x.shape[dim]).reshape(-1))
        return picked.reshape([*x.shape[:dim], *indices.shape, *x.shape[dim + 1 :]])

    return run


def unsqueeze(*, axes: Sequence[int] | None = None) -> Run:
    """Returns Unsqueeze, which inserts axes of size 1; `axes` is an attribute or an input."""

    def run(x: Tensor, axes_input: Tensor | None = None) -> Tensor:
        dims = axes if axes_input is None else axes_input.tolist()
        for dim in sorted(dim % (x.ndim + len(dims)) for dim in dims):
            x = x.unsqueeze(dim)
        return x

    return run


def squeeze(*, axes: Sequence[int] | None = None) -> Run:
    """Returns Squeeze, which drops axes of size 1: those of an attribute or an input, or all."""

    def run(x: Tensor, axes_input: Tensor | None = None) -> Tensor:
        dims = axes if axes_input is None else axes_input.tolist()
        return x.squeeze() if dims is None else x.squeeze(tuple(dims))

    return run


SHAPES: dict[str, Factory] = {
    "Concat": concat,
    "Flatten": flatten,
    "Gather": gather,
    "Reshape": reshape,
    "Shape": shape,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
