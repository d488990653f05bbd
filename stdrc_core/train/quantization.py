"""The base of a run: with its LoRAs merged, and under a LoRA in 8 bits (ltx/int8)."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from ..ltx.backbone import VideoBackbone, empty_backbone, load_backbone
from ..ltx.checkpoint_files import Convert
from ..ltx.int8 import Int8
from ..ltx.lora import merged_while_read
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
    """Loads the backbone onto `device`, with the LoRAs of `section` merged, in 8 bits where it says
    so.

    Weights are changed and quantised one by one as they are read, so that `device` never holds more
    than one of them in full precision. Raises ValueError for LoRAs that cannot be merged, and where
    torchao is needed and not installed.
    """
    dtype = getattr(torch, section.dtype)
    merge: Convert | None = None
    if section.loras:
        merge = merged_while_read(section.loras, empty_backbone(section.checkpoint))
    if section.quantization == "none":
        return load_backbone(section.checkpoint, dtype=dtype, device=device, convert=merge)
    int8 = Int8("model.quantization")

    def quantize(key: str, value: Tensor) -> Tensor:
        value = value if merge is None else merge(key, value)
        return int8(value) if is_quantized(key) else value

    backbone = load_backbone(section.checkpoint, dtype=dtype, device=device, convert=quantize)
    for module in backbone.modules():
        if int8.holds(module):
            module.register_forward_pre_hook(_cast_input)
    return backbone


def _cast_input(layer: nn.Linear, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Casts a layer's input to the dtype of its weight, as autocast does for other layers.

    torchao computes in the dtype of the input, which may be float32.
    """
    return (inputs[0].to(layer.weight.dtype), *inputs[1:])
