"""Reads ONNX files by the `onnx` package, and says in one sentence where a file is not one.

`onnx` comes with InsightFace and, like InsightFace, is imported only where it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..files import why_unreadable

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto


def read_onnx(path: Path, *, with_weights: bool = True) -> ModelProto:
    """Returns the model in the file.

    With `with_weights`, weights that are kept in files beside it are read too. Raises ValueError
    where the file is missing, cut short or no ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=with_weights)
    except (OSError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise ValueError(
            f"{path} could not be read as an ONNX model ({why_unreadable(path, error)}); needs a "
            "whole .onnx file: download or export it again."
        ) from error
    if not model.graph.node:
        raise ValueError(
            f"{path} holds no ONNX graph; needs a whole .onnx file: download it again."
        )
    return model


def input_shapes(graph: GraphProto) -> dict[str, tuple[int | None, ...]]:
    """Returns the shapes of the graph's inputs by name, without its weights.

    A side that may have any length is None.
    """
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {tensor.values.name for tensor in graph.sparse_initializer}
    return {
        value.name: tuple(side.dim_value or None for side in value.type.tensor_type.shape.dim)
        for value in graph.input
        if value.name not in weights
    }
