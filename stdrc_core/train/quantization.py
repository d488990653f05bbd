"""The frozen base of a LoRA in 8 bits, by torchao: weights only, with one scale for each row.

A weight is kept as w ~ q s, with integers q in [-128, 127] and s = max |w| / 127.5 over its row.
Activations keep their precision, and gradients reach a layer's input through the rounded weights.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from ..ltx.backbone import VideoBackbone, load_backbone
from .config import ModelSection
from .trainable import BLOCK_PROJECTIONS


def is_quantized(key: str) -> bool:
    """Whether int8 quantises the weight of this name in diffusers' transformer.

    It does so with the video's projections in all blocks: they are what a LoRA sits on, and almost
    all of the weights.
    """
    module, _, kind = key.rpartition(".")
    return kind == "weight" and re.fullmatch(BLOCK_PROJECTIONS, module) is not None


def load_base(section: ModelSection, device: torch.device) -> VideoBackbone:
    """Loads the backbone onto `device`, in 8 bits where `section` says so.

    Weights are quantised one by one as they are read, so that `device` never holds more than one of
    them in full precision. Raises ValueError where torchao is needed and not installed.
    """
    dtype = getattr(torch, section.dtype)
    if section.quantization == "none":
        return load_backbone(section.checkpoint, dtype=dtype, device=device)
    try:
        from torchao.quantization import Int8Tensor, PerRow
    except ImportError as error:
        raise ValueError(
            f"model.quantization was {section.quantization}; needs torchao 0.18 or newer: "
            "pip install -U torchao, or take none."
        ) from error

    def quantize(key: str, value: Tensor) -> Tensor:
        return Int8Tensor.from_hp(value, granularity=PerRow()) if is_quantized(key) else value

    backbone = load_backbone(section.checkpoint, dtype=dtype, device=device, convert=quantize)
    for module in backbone.modules():
        if isinstance(module, nn.Linear) and isinstance(module.weight, Int8Tensor):
            module.register_forward_pre_hook(_cast_input)
    return backbone


def _cast_input(layer: nn.Linear, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Casts a layer's input to the dtype of its weight, as autocast does for other layers.

    torchao computes in the dtype of the input, which may be float32.
    """
    return (inputs[0].to(layer.weight.dtype), *inputs[1:])
