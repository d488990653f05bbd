"""ONNX files as the `onnx` package reads them, with one clear sentence where one is no such file.

`onnx` comes with InsightFace and is imported where it is used, as InsightFace is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto


def read_onnx(path: Path, *, with_weights: bool = True) -> ModelProto:
    """The model in the file; `with_weights` also reads weights kept in files beside it.

    Raises ValueError when the file is missing, cut short or no ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=with_weights)
    except (OSError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise ValueError(
            f"{path} could not be read as an ONNX model ({error}); needs a whole .onnx file: "
            "download or export it again."
        ) from error
    if not model.graph.node:
        raise ValueError(
            f"{path} holds no ONNX graph; needs a whole .onnx file: download it again."
        )
    return model


def input_shapes(graph: GraphProto) -> dict[str, tuple[int | None, ...]]:
    """Name and shape of what the graph is given, weights excluded; None where a side is free."""
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {tensor.values.name for tensor in graph.sparse_initializer}
    return {
        value.name: tuple(side.dim_value or None for side in value.type.tensor_type.shape.dim)
        for value in graph.input
        if value.name not in weights
    }
