"""Files of ComfyUI's 8-bit formats, made from whole ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

GROUP_SIZE = 16
_BLOCK = (".attn1.to_", ".attn2.to_", ".ff.net.")
# What ComfyUI's file says of a layer in each format.
FORMATS: dict[str, dict[str, Any]] = {
    "fp8": {"format": "float8_e4m3fn"},
    "fp8 e5m2": {"format": "float8_e5m2"},
    "int8": {"format": "int8_tensorwise"},
    "int8 convrot": {
        "format": "int8_tensorwise",
        "convrot": True,
        "convrot_groupsize": GROUP_SIZE,
    },
}


def pack(name: str, weight: Tensor, kind: str, facts: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of one packed layer; int8 has a scale for each row, fp8 one for all."""
    layer, weight = name.removesuffix(".weight"), weight.detach().float()
    if kind.startswith("fp8"):
        dtype = torch.float8_e5m2 if "e5m2" in kind else torch.float8_e4m3fn
        scale = weight.abs().max() / torch.finfo(dtype).max
        packed = (weight / scale).to(dtype)
    else:
        if kind == "int8 convrot":
            weight = rotated(weight)
        scale = weight.abs().amax(dim=1, keepdim=True) / 127
        packed = (weight / scale).round().to(torch.int8)
    described = torch.tensor(list(json.dumps(facts).encode()), dtype=torch.uint8)
    return {name: packed, f"{layer}.weight_scale": scale, f"{layer}.comfy_quant": described}


def rotated(weight: Tensor) -> Tensor:
    base = torch.tensor([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]]) / 2
    return (weight.unflatten(1, (-1, GROUP_SIZE)) @ torch.kron(base, base).T).flatten(1)


def packed_file(
    path: Path,
    tensors: Mapping[str, Tensor],
    kind: str,
    settings: dict[str, Any] | None,
    names: Iterable[str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A file of `tensors` with `names` packed, by default the video's projections in all blocks."""
    if names is None:
        names = [
            name
            for name in tensors
            if name.endswith(".weight")
            and any(part in name for part in _BLOCK)
            and not any(part in name for part in ("audio", "video_to", "gate", "norm"))
        ]
    packed = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
    for name in names:
        packed |= pack(name, tensors[name], kind, FORMATS[kind])
    whole = dict(metadata or {})
    if settings is not None:
        whole["config"] = json.dumps({"transformer": settings})
    save_file(packed, path, metadata=whole)
    return path
