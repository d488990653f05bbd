"""The ONNX operators of face recognition networks that compute numbers, in torch.

`LAYERS` maps the name of an operator to a function that takes the operator's attributes as
keywords, checks them, and returns a function on tensors, which runs the operator. It raises
ValueError for a value of an attribute that is not supported, and TypeError for an unknown
attribute. Attributes that change nothing here are accepted and not used. Networks are frozen:
normalisation uses its stored statistics, and dropout drops nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Runs an operator: its input tensors -> its output.
Run = Callable[..., Tensor]
# Makes such a function from the operator's attributes.
Factory = Callable[..., Run]


def conv(
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
    kernel_shape: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
) -> Run:
    """Returns Conv on images `[B, C, H, W]`."""
    _check_window(auto_pad, kernel_shape, pads)
    edges = _torch_pads(pads)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if edges[0] == edges[1] and edges[2] == edges[3]:
            return F.conv2d(x, weight, bias, strides, (edges[2], edges[0]), dilations, group)
        return F.conv2d(F.pad(x, edges), weight, bias, strides, 0, dilations, group)

    return run


def average_pool(
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
) -> Run:
    """Returns AveragePool on images `[B, C, H, W]`.

    Padding counts in the averages only with `count_include_pad`.
    """
    _check_window(auto_pad, kernel_shape, pads)
    require("ceil_mode", ceil_mode, 0)
    require("dilations", tuple(dilations), (1, 1))
    edges = _torch_pads(pads)

    def run(x: Tensor) -> Tensor:
        mean = F.avg_pool2d(F.pad(x, edges), kernel_shape, strides)
        if count_include_pad or not any(edges):
            return mean
        inside = F.pad(x.new_ones(1, 1, *x.shape[2:]), edges)
        return mean / F.avg_pool2d(inside, kernel_shape, strides)

    return run


def max_pool(
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    storage_order: int = 0,
    strides: Sequence[int] = (1, 1),
) -> Run:
    """Returns MaxPool on images `[B, C, H, W]`."""
    _check_window(auto_pad, kernel_shape, pads)
    require("ceil_mode", ceil_mode, 0)
    edges = _torch_pads(pads)

    def run(x: Tensor) -> Tensor:
        padded = F.pad(x, edges, value=float("-inf")) if any(edges) else x
        return F.max_pool2d(padded, kernel_shape, strides, 0, dilations)

    return run


def global_average_pool() -> Run:
    """Returns GlobalAveragePool, the mean over all axes but the first two, which become 1."""
    return lambda x: x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def batch_normalization(
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
    training_mode: int = 0,
) -> Run:
    """Returns BatchNormalization with the statistics that are stored in the network."""
    require("spatial", spatial, 1)
    require("training_mode", training_mode, 0)

    def run(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return F.batch_norm(x, mean, variance, scale, bias, training=False, eps=epsilon)

    return run


def p_relu() -> Run:
    """Returns PRelu, whose slope may have any shape that broadcasts to the input's."""

    def run(x: Tensor, slope: Tensor) -> Tensor:
        # For one slope, or one a channel [C, 1, 1], torch's own kernel holds one tensor less.
        if slope.numel() == 1 or slope.shape == (*x.shape[1:2], *[1] * (x.ndim - 2)):
            return F.prelu(x, slope.reshape(-1))
        return torch.where(x < 0, slope * x, x)

    return run


def clip(*, min: float | None = None, max: float | None = None) -> Run:
    """Returns Clip. Its limits are attributes before opset 11, and inputs since then."""
    limits = (min, max)

    def run(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
        low = limits[0] if low is None else low
        high = limits[1] if high is None else high
        return x if low is None and high is None else torch.clamp(x, low, high)

    return run


def gemm(*, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0) -> Run:  # noqa: N803
    """Returns Gemm: alpha A B + beta C, with A or B transposed where the attributes say so."""

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a, b = a.mT if transA else a, b.mT if transB else b
        if c is None:
            return alpha * (a @ b)
        return torch.addmm(c, a, b, beta=beta, alpha=alpha)

    return run


def reduce_mean(
    *, axes: Sequence[int] | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Run:
    """Returns ReduceMean; its axes are an attribute or an input, and without them it takes all."""
    require("noop_with_empty_axes", noop_with_empty_axes, 0)

    def run(x: Tensor, axes_input: Tensor | None = None) -> Tensor:
        dims = axes if axes_input is None else axes_input.tolist()
        return x.mean(dim=tuple(dims or range(x.ndim)), keepdim=bool(keepdims))

    return run


def dropout(*, ratio: float = 0.5, seed: int = 0) -> Run:
    """Returns Dropout, which drops nothing here, whatever mode its inputs ask for."""
    return lambda x, ratio=None, training_mode=None: x


def _elementwise(function: Run) -> Factory:
    def factory() -> Run:
        return function

    return factory


def _divide(a: Tensor, b: Tensor) -> Tensor:
    # Integers, such as the sizes in a shape, stay integers.
    is_whole = not (a.is_floating_point() or b.is_floating_point())
    return torch.div(a, b, rounding_mode="trunc" if is_whole else None)


def require(attribute: str, value: object, supported: object) -> None:
    """Raises ValueError where an attribute has another value than the one that is supported."""
    if value != supported:
        raise ValueError(f"{attribute} = {value}, of which only {supported} is supported")


def _check_window(auto_pad: str, kernel_shape: Sequence[int], pads: Sequence[int]) -> None:
    require("auto_pad", auto_pad, "NOTSET")
    require("number of sides in kernel_shape", len(kernel_shape), 2)
    require("number of pads", len(pads), 4)


def _torch_pads(pads: Sequence[int]) -> tuple[int, int, int, int]:
    """Returns ONNX's padding (top, left, bottom, right) as torch's (left, right, top, bottom)."""
    top, left, bottom, right = pads
    return left, right, top, bottom


LAYERS: dict[str, Factory] = {
    "Add": _elementwise(torch.add),
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Clip": clip,
    "Conv": conv,
    "Div": _elementwise(_divide),
    "Dropout": dropout,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "Identity": _elementwise(lambda x: x),
    "MatMul": _elementwise(torch.matmul),
    "MaxPool": max_pool,
    "Mul": _elementwise(torch.mul),
    "PRelu": p_relu,
    "ReduceMean": reduce_mean,
    "Relu": _elementwise(torch.relu),
    "Sigmoid": _elementwise(torch.sigmoid),
    "Sub": _elementwise(torch.sub),
}
