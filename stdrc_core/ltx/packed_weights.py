"""Weights that ComfyUI's files keep in 8 bits: what lies beside each, and how it is read back.

A packed weight `X.weight` holds fp8 numbers or integers q, and `X.weight_scale` the scale s of all
of it or of each row; the weight is w = s q. Which of ComfyUI's formats it has is said by a tensor
`X.comfy_quant`, by `_quantization_metadata` in the file's metadata, or, in older files, by a tensor
`scaled_fp8` and scales that are called `X.scale_weight`.

In the format int8 with ConvRot, each group of n inputs was rotated before rounding, W' = W R^T, by
the regular Hadamard matrix R of size n, which is symmetric and its own inverse. So W = s q R.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

_FP8 = {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"}
_INT8 = "int8_tensorwise"
_GROUP_SIZE = 256
# Where a file says the formats of its layers, and the name that this has for a layer of its own.
_METADATA_KEY, _LAYER_KEY, _OLD_MARK = "_quantization_metadata", "comfy_quant", "scaled_fp8"
_SCALES = ("weight_scale", "scale_weight")
# What may lie beside a packed weight; nothing here has a place in a model.
_BESIDE = (
    *_SCALES,
    *("weight_scale_2", "input_scale", "scale_input", "pre_quant_scale", _LAYER_KEY),
    *("weight_s_rel", "weight_s_channel", "weight_codebook"),
)


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How a packed weight is read back."""

    kind: str
    """ComfyUI's name of the format, for example "float8_e4m3fn" or "int8_tensorwise"."""
    scale: str | None
    """The name of the scale's tensor in the file."""
    group_size: int | None = None
    """How many inputs were rotated together; None where none were."""
    flaw: str = ""
    """What about the sizes of scale or groups is not known; empty where all fits."""

    @property
    def is_known(self) -> bool:
        """Whether `unpack` can read the weight back."""
        is_kind = self.kind in _FP8 or self.kind == _INT8
        return self.scale is not None and is_kind and not self.flaw

    def fitted(self, shape: tuple[int, ...], scale_shape: tuple[int, ...]) -> Packing:
        """Returns the same with its flaw, for a weight of `shape` and its scale's."""
        flaw = ""
        rows = shape[0] if shape else 1
        if math.prod(scale_shape) not in (1, rows) or (scale_shape and scale_shape[0] == 0):
            flaw = f"a scale of shape {list(scale_shape)}"
        elif self.group_size is not None and not _is_rotatable(shape, self.group_size):
            flaw = f"groups of {self.group_size} in {list(shape)}"
        return replace(self, flaw=flaw)

    @property
    def title(self) -> str:
        """What the format is called in messages."""
        title = self.kind if self.group_size is None else f"{self.kind} with ConvRot"
        return f"{title} and {self.flaw}" if self.flaw else title


def packings(
    dtypes: Mapping[str, str], metadata: Mapping[str, str], read: Callable[[str], Tensor]
) -> dict[str, Packing]:
    """Returns how each packed weight of a file is read back, by the weight's name in the file.

    `dtypes` are the file's tensors and their dtypes as safetensors names them, `metadata` its
    safetensors metadata; `read(name)` reads a tensor, and is called for the small ones alone that
    say a format. A weight in fp8 without a scale is not packed: nothing says what it is worth.

    Raises ValueError, whose message goes on after "the file has", where what says a format is
    damaged.
    """
    facts = _facts(dtypes, metadata, read)
    found = {}
    for name, dtype in dtypes.items():
        layer = name.removesuffix(".weight")
        kind = next((kind for kind, each in _FP8.items() if each == dtype), None)
        if layer == name or (layer not in facts and kind is None):
            continue
        names = (f"{layer}.{scale}" for scale in _SCALES)
        scale = next((each for each in names if each in dtypes), None)
        if layer in facts:
            found[name] = _packing(facts[layer], scale)
        elif scale is not None:
            found[name] = Packing(kind=kind, scale=scale)
    return found


def lies_beside_a_weight(name: str) -> bool:
    """Returns whether a tensor of this name only says how a packed weight is read back."""
    last = name.rpartition(".")[2]
    return last in _BESIDE or last == _OLD_MARK


def unpack(packed: Tensor, scale: Tensor, packing: Packing, dtype: torch.dtype) -> Tensor:
    """Returns the weight `[out, in]` of packed numbers of that shape, in `dtype`.

    `scale` is of the whole weight, `[]` or `[1]`, or of each row, `[out]` or `[out, 1]`.
    """
    scale = scale.float()
    if scale.numel() > 1:
        scale = scale.reshape(len(packed), *[1] * (packed.ndim - 1))
    weight = packed.float() * scale.to(packed.device)
    if packing.group_size is not None:
        rotation = hadamard(packing.group_size).to(weight.device)
        weight = (weight.unflatten(1, (-1, packing.group_size)) @ rotation).flatten(1)
    return weight.to(dtype)


def hadamard(size: int) -> Tensor:
    """Returns the regular Hadamard matrix `[size, size]` of ConvRot, orthogonal and symmetric.

    Raises ValueError for a size that is no power of 4.
    """
    four = torch.ones(4, 4) - 2 * torch.eye(4).flip(0)
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.kron(matrix, four / 2)
    if len(matrix) != size:
        raise ValueError(f"ConvRot's group size was {size}; needs a power of 4, such as 256.")
    return matrix


def _facts(
    dtypes: Mapping[str, str], metadata: Mapping[str, str], read: Callable[[str], Tensor]
) -> dict[str, dict[str, Any]]:
    """Returns what a file says of its packed layers, by their names."""
    facts = {}
    if _METADATA_KEY in metadata:
        stored = _parsed(metadata[_METADATA_KEY], f"metadata {_METADATA_KEY}").get("layers")
        for layer, each in (stored if isinstance(stored, dict) else {}).items():
            facts[layer] = each if isinstance(each, dict) else {}
    for name in dtypes:
        layer, _, last = name.rpartition(".")
        if last == _LAYER_KEY:
            facts[layer] = _parsed(bytes(read(name).to(torch.uint8).tolist()), name)
    return facts


def _parsed(text: str | bytes, what: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    # Bytes that are not text raise a ValueError too.
    except ValueError as error:
        raise ValueError(f"a damaged {what} ({error})") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"a damaged {what} (a {type(parsed).__name__})")
    return parsed


def _is_rotatable(shape: tuple[int, ...], group_size: int) -> bool:
    is_power_of_4 = group_size > 0 and 4 ** round(math.log(group_size, 4)) == group_size
    return is_power_of_4 and len(shape) == 2 and shape[1] % group_size == 0


def _packing(facts: Mapping[str, Any], scale: str | None) -> Packing:
    """Returns the packing of a layer; older files have further facts under `params`."""
    further = facts.get("params")
    facts = {**(further if isinstance(further, dict) else {}), **facts}
    is_rotated = facts.get("convrot", False)
    return Packing(
        kind=str(facts.get("format")),
        scale=scale,
        group_size=int(facts.get("convrot_groupsize", _GROUP_SIZE)) if is_rotated else None,
    )
