"""An ONNX network as a frozen torch module, through which gradients flow to the input.

The module holds the file's own weights and computes what ONNX Runtime computes, up to rounding. It
knows only the operators of face recognition networks and refuses others when the file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .onnx_file import input_shapes
from .onnx_layers import LAYERS
from .onnx_shapes import SHAPES

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

OPERATORS = {**LAYERS, **SHAPES}
_ONNX_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class _Step:
    """One operator of the network."""

    run: Callable[..., Tensor]
    """The function that runs the operator."""
    inputs: tuple[str, ...]
    """The names of its inputs; an input that is left out is empty."""
    output: str
    """The name of its output."""
    last_read: tuple[str, ...]
    """The names of the values that no later step reads. They are dropped after this step, so that
    little memory is held where there are no gradients."""


class OnnxModule(nn.Module):
    """A network of one input and one output, run operator by operator.

    The weights are non-persistent buffers: they follow `.to()`, take no gradient and stay out of
    checkpoints. Half-precision weights become float32. The network is always in inference mode;
    `train()` changes nothing. `input_shape` and `output_shape` are those of the file, with None
    for a side that may have any length.
    """

    def __init__(self, model: ModelProto, path: Path):
        """`path` is the model's file, for messages.

        Raises ValueError for an operator or attribute that is not known, and for a network with
        another number of inputs or outputs than one.
        """
        super().__init__()
        graph = model.graph
        inputs = input_shapes(graph)
        if len(inputs) != 1 or len(graph.output) != 1 or graph.sparse_initializer:
            raise ValueError(
                f"{path} has {len(inputs)} inputs, {len(graph.output)} outputs and "
                f"{len(graph.sparse_initializer)} sparse weights; needs a network of one input, "
                "one output and dense weights."
            )
        ((self._input, self.input_shape),) = inputs.items()
        self._output = graph.output[0].name
        output_sides = graph.output[0].type.tensor_type.shape.dim
        self.output_shape = tuple(side.dim_value or None for side in output_sides)
        self._buffer_of: dict[str, str] = {}
        self._whole_numbers: dict[str, Tensor] = {}
        for name, tensor in _constants(model, path).items():
            if tensor.is_floating_point():
                self._buffer_of[name] = f"weight_{len(self._buffer_of)}"
                self.register_buffer(self._buffer_of[name], tensor, persistent=False)
            else:
                self._whole_numbers[name] = tensor
        given = {self._input, *self._buffer_of, *self._whole_numbers}
        self._steps = _steps(model, path, given)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, which the input needs to have too."""
        return next(self.buffers()).dtype if self._buffer_of else torch.float32

    def forward(self, x: Tensor) -> Tensor:
        """Returns the network's output for an input `[B, ...]`, where B is any number.

        Where the file fixes the size of the batch, the input is filled up with zeros and run in
        parts of that size. Raises ValueError for another shape than the file's.
        """
        if x.ndim != len(self.input_shape) or any(
            side not in (None, given)
            for side, given in zip(self.input_shape[1:], x.shape[1:], strict=True)
        ):
            free = ", ".join("any" if side is None else str(side) for side in self.input_shape[1:])
            raise ValueError(f"input had shape {list(x.shape)}; the network needs [B, {free}].")
        part = self.input_shape[0] or max(1, len(x))
        missing = -len(x) % part if len(x) else part
        if not missing and len(x) == part:
            return self._run(x)
        padded = torch.cat((x, x.new_zeros(missing, *x.shape[1:])))
        return torch.cat([self._run(each) for each in padded.split(part)])[: len(x)]

    def _run(self, x: Tensor) -> Tensor:
        values = {self._input: x, **self._whole_numbers}
        values |= {name: self.get_buffer(buffer) for name, buffer in self._buffer_of.items()}
        for step in self._steps:
            # An input that is left out has an empty name.
            arguments = [values[name] if name else None for name in step.inputs]
            values[step.output] = step.run(*arguments)
            for name in step.last_read:
                del values[name]
        return values[self._output]


def _constants(model: ModelProto, path: Path) -> dict[str, Tensor]:
    """Returns the initialisers and the values of `Constant` nodes, by name.

    Half precision becomes float32.
    """
    from onnx import numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.domain in _ONNX_DOMAINS:
            attributes = _attributes(node)
            ((kind, value),) = attributes.items()
            if kind not in ("value", "value_float", "value_floats", "value_int", "value_ints"):
                raise ValueError(f"{path}: operator Constant with {kind} is not supported.")
            arrays[node.output[0]] = numpy_helper.to_array(value) if kind == "value" else value
    return {name: _as_tensor(array, name, path) for name, array in arrays.items()}


def _as_tensor(array: Any, name: str, path: Path) -> Tensor:
    try:
        # The array is copied, because ONNX's arrays may be read-only views.
        tensor = torch.tensor(array)
    except TypeError as error:
        raise ValueError(
            f"{path}: weight {name!r} is of a type that is not supported ({error}); needs float32, "
            "float16 or float64."
        ) from error
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _steps(model: ModelProto, path: Path, given: set[str]) -> tuple[_Step, ...]:
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    output = model.graph.output[0].name
    last_reader = {name: i for i, node in enumerate(nodes) for name in node.input if name}
    known, steps = set(given), []
    for i, node in enumerate(nodes):
        # Further outputs, such as a dropout's mask or a pool's indices, may exist if nothing reads
        # them.
        run = _operator(node, path)
        unknown = [name for name in node.input if name and name not in known]
        if unknown:
            raise ValueError(
                f"{path}: operator {node.op_type} reads {unknown[0]!r}, which nothing before it "
                "computes; needs a network whose operators have one output each, in order."
            )
        last_read = {name for name in node.input if last_reader.get(name) == i} - {output}
        known.add(node.output[0])
        steps.append(_Step(run, tuple(node.input), node.output[0], tuple(last_read)))
    if output not in known:
        raise ValueError(f"{path}: nothing computes the output {output!r}.")
    return tuple(steps)


def _operator(node: NodeProto, path: Path) -> Callable[..., Tensor]:
    if node.domain not in _ONNX_DOMAINS or node.op_type not in OPERATORS:
        name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        raise ValueError(
            f"{path}: operator {name} is not supported; needs a recognition network of "
            f"{', '.join(OPERATORS)}."
        )
    try:
        return OPERATORS[node.op_type](**_attributes(node))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: operator {node.op_type} is not supported: {error}.") from error


def _attributes(node: NodeProto) -> Mapping[str, Any]:
    from onnx.helper import get_attribute_value

    values = {each.name: get_attribute_value(each) for each in node.attribute}
    return {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in values.items()
    }
