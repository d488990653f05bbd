"""Merging a LoRA file into the backbone's weights.

Files of all trainers are read: under the names of ComfyUI's loaders, of diffusers, of peft and of
kohya (lora_names), with the kinds of change that ComfyUI knows (lora_changes). What cannot be
merged is refused by name, and never left out in silence. The trainer exports ComfyUI's names
(train/export).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from .backbone import VideoBackbone
from .checkpoint import TRANSFORMER_PREFIX, transformer_key
from .checkpoint_files import Convert, first_few
from .lora_changes import Change, apply_change
from .lora_file import open_lora
from .lora_layers import Scales, changes_of
from .lora_names import known_layers, sorted_by_layer

log = logging.getLogger(__name__)

# How many numbers of a weight are in float32 at a time: 64 MiB.
_ENTRIES_TOGETHER = 2**24


@torch.no_grad()
def merge_lora(
    backbone: VideoBackbone,
    path: str | Path,
    strength: float = 1.0,
    device: torch.device | None = None,
) -> None:
    """Adds the LoRA of `path` to the backbone's weights, in place.

    It is computed in float32 on `device`, by default where each weight is, a part of a weight at a
    time; the weights stay where they are. The backbone has no audio tower, so the LoRA's layers for
    it are left out. Raises ValueError for a file that cannot be read, that holds no LoRA of this
    model, whose sizes are those of another model, or that changes a layer in a way that is not
    known; the weights are then unchanged.
    """
    weights = _weights_by_layer(backbone)
    changes = _read_changes(path, backbone)
    if strength == 0:
        return
    for layer, change in changes.items():
        weight = weights[layer]
        apply_change(
            weight,
            change,
            strength,
            device or weight.device,
            entries_together=_ENTRIES_TOGETHER,
        )


def merged_while_read(paths: Sequence[str | Path], backbone: VideoBackbone) -> Convert:
    """Returns a `convert` of `load_backbone` that adds these LoRAs to each weight as it is read.

    The result is that of `merge_lora` with one file after the other. It can be followed by what
    leaves a weight that nothing is added to, such as a quantisation. `backbone` has the names and
    sizes of what is read, and needs no weights (`backbone.empty_backbone`).

    Raises ValueError as `merge_lora` does, before anything is read.
    """
    each = [_read_changes(path, backbone) for path in paths]

    @torch.no_grad()
    def merge(key: str, weight: Tensor) -> Tensor:
        for changes in each:
            if (change := changes.get(_layer(key))) is not None:
                apply_change(weight, change, 1.0, weight.device, entries_together=_ENTRIES_TOGETHER)
        return weight

    return merge


def _layer(name: str) -> str:
    """The layer of a LoRA file that changes the parameter of this name in diffusers."""
    return transformer_key(name).removeprefix(TRANSFORMER_PREFIX).removesuffix(".weight")


def _weights_by_layer(backbone: VideoBackbone) -> dict[str, Tensor]:
    return {_layer(name): p for name, p in backbone.transformer.named_parameters()}


def _read_changes(path: str | Path, backbone: VideoBackbone) -> dict[str, Change]:
    """Returns the change of each layer that the file changes."""
    layers = known_layers(name for name, _ in backbone.transformer.named_parameters())
    weights = _weights_by_layer(backbone)
    changes: dict[str, Change] = {}
    with open_lora(path) as file:
        keys = list(file.keys())
        try:
            found, others = sorted_by_layer(keys, layers)
            scales = Scales.of(file.metadata() or {})
            for layer, parts in found.items():
                tensors = {part: file.get_tensor(key) for part, key in parts.items()}
                changes |= changes_of(layer, tensors, weights, scales)
        except ValueError as error:
            raise ValueError(f"LoRA {path} {error}") from error
    if not changes:
        raise ValueError(
            f"LoRA {path} holds {first_few(keys)}; needs layers of LTX-2's video branch: take a "
            "LoRA that was trained for this model."
        )
    if others:
        log.info("LoRA %s: %d tensors are not of the video branch", path, len(others))
    return changes
