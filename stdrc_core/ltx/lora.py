"""Merging a LoRA file into the backbone's weights: W + strength * (alpha / rank) * B A.

The names in the file are those that ComfyUI's loaders read; the trainer exports them too
(train/export).
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from .backbone import VideoBackbone
from .checkpoint import TRANSFORMER_PREFIX, transformer_key
from .checkpoint_files import first_few
from .lora_file import open_lora

log = logging.getLogger(__name__)

_DOWN, _UP, _ALPHA = ".lora_A.weight", ".lora_B.weight", ".alpha"
# Other trainers' endings of the names of A and B -> ours.
_OTHER_NAMES = {".lora_down.weight": _DOWN, ".lora_up.weight": _UP}
_SHORT_PREFIX = TRANSFORMER_PREFIX.removeprefix("model.")


@torch.no_grad()
def merge_lora(backbone: VideoBackbone, path: str | Path, strength: float = 1.0) -> None:
    """Adds the LoRA of `path` to the backbone's weights, in place.

    The backbone has no audio tower, so the LoRA's layers for it are left out. Raises ValueError for
    a file that cannot be read, that holds no LoRA of this model, or whose sizes are those of
    another model; the weights are then unchanged.
    """
    with open_lora(path) as file:
        tensors = {_known_name(key): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    weights = {
        transformer_key(name).removesuffix(".weight"): parameter
        for name, parameter in backbone.transformer.named_parameters()
        if name.endswith(".weight")
    }
    modules = [key.removesuffix(_DOWN) for key in tensors if key.endswith(_DOWN)]
    merged = [module for module in modules if module in weights]
    if not merged:
        raise ValueError(
            f"LoRA {path} holds {first_few(list(tensors))}; needs layers of LTX-2's video branch: "
            "take a LoRA that was trained for this model."
        )
    if len(merged) < len(modules):
        log.info("LoRA %s: %d layers are not of the video branch", path, len(modules) - len(merged))
    for module in merged:
        weight, down = weights[module], tensors[module + _DOWN]
        up = tensors.get(module + _UP)
        if up is None or (up.shape[0], down.shape[1]) != tuple(weight.shape):
            found = None if up is None else [up.shape[0], down.shape[1]]
            raise ValueError(
                f"LoRA {path} has a change of shape {found} for {module}; this model's is "
                f"{list(weight.shape)}: take a LoRA that was trained for this model."
            )
        if up.shape[1] != down.shape[0]:
            raise ValueError(
                f"LoRA {path} has halves of ranks {down.shape[0]} and {up.shape[1]} for {module}; "
                "needs one rank: the file is damaged, get it again."
            )
    for module in merged:
        weight, down, up = weights[module], tensors[module + _DOWN], tensors[module + _UP]
        rank = down.shape[0]
        alpha = float(tensors.get(module + _ALPHA, torch.tensor(float(rank))))
        change = strength * alpha / rank * (up.float() @ down.float())
        weight.copy_(weight.float() + change.to(weight.device))


def _known_name(key: str) -> str:
    """Returns a LoRA file's key with the single file's prefix and our endings for A and B."""
    for other, ours in _OTHER_NAMES.items():
        if key.endswith(other):
            key = key.removesuffix(other) + ours
    if key.startswith(_SHORT_PREFIX):
        return TRANSFORMER_PREFIX + key.removeprefix(_SHORT_PREFIX)
    return key
