"""ComfyUI's own reading of its 8-bit weights."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor


def can_unpack() -> bool:
    try:
        from comfy.quant_ops import QUANT_ALGOS
    except ImportError:
        return False
    return "int8_tensorwise" in QUANT_ALGOS


def unpacked(path: str) -> dict[str, Tensor]:
    """Each packed weight of a file as the host's linear layer would hold it, in float32."""
    import comfy.ops
    import comfy.utils
    from comfy.quant_ops import QUANT_ALGOS, QuantizedTensor

    weights = comfy.utils.load_torch_file(path)
    operations = comfy.ops.mixed_precision_ops({"mixed_ops": True}, torch.float32)
    found: dict[str, Any] = {}
    for name in [name for name in weights if name.endswith(".comfy_quant")]:
        layer = name.removesuffix("comfy_quant")
        assert json.loads(bytes(weights[name].tolist()))["format"] in QUANT_ALGOS
        state = {key: value for key, value in weights.items() if key.startswith(layer)}
        shape = weights[f"{layer}weight"].shape
        linear = operations.Linear(shape[1], shape[0], bias=f"{layer}bias" in state)
        linear.load_state_dict({key.removeprefix(layer): value for key, value in state.items()})
        assert isinstance(linear.weight, QuantizedTensor)
        found[f"{layer}weight"] = linear.weight.dequantize()
    return found
