"""Learned slot tags: a vector that an adapter adds to each reference's latent to tell them apart.

Fourier features of the slot's number go through a small network, and its output is added to all
tokens of the reference, in the latent's channels and before the transformer's input layer:

    u = scale * index,    tag = W_2 SiLU(W_0 [u, sin(u f), cos(u f)] + b_0) + b_2

f, W and b are tensors in the adapter's file beside its LoRA layers, and ComfyUI's loaders drop
them. BFS's adapters have scale 1 (ComfyUI-BFSNodes 1.29, ltx_multiref_slots.py), Licon's MSR
adapters 1/16 (github.com/liconstudio/ComfyUI-LTX2.5-MSR).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .lora_file import open_lora
from .lora_names import without_wrappers

_PREFIX = "reference_slot_embedding."
_NAMES = ("frequencies", "net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias")


@dataclass(frozen=True, kw_only=True, eq=False)
class SlotTags:
    """The network of one adapter's tags, in float32."""

    scale: float
    """What a slot's number is multiplied by."""
    frequencies: Tensor
    """f, `[L]`."""
    hidden: tuple[Tensor, Tensor]
    """W_0 `[hidden, 1 + 2 L]` and b_0 `[hidden]`."""
    output: tuple[Tensor, Tensor]
    """W_2 `[C, hidden]` and b_2 `[C]`, where C is the number of the latent's channels."""

    def of(self, indices: Sequence[float]) -> Tensor:
        """Returns the tags of these slots' numbers, `[K, C]` float32."""
        u = self.scale * torch.tensor(indices, dtype=torch.float32)[:, None]
        angles = u * self.frequencies
        features = torch.cat((u, angles.sin(), angles.cos()), dim=1)
        return F.linear(F.silu(F.linear(features, *self.hidden)), *self.output)


def read_slot_tags(path: str | Path, scale: float) -> SlotTags | None:
    """Reads the tags of an adapter's file, or returns None where the file has none.

    `scale` is what the adapter's trainer multiplied a slot's number by. Raises ValueError for a
    file that cannot be read, and for tags that are not whole or whose shapes do not fit.
    """
    with open_lora(path) as file:
        tensors = {
            without_wrappers(key).removeprefix(_PREFIX): file.get_tensor(key).float()
            for key in file.keys()  # noqa: SIM118
            if without_wrappers(key).startswith(_PREFIX)
        }
    if not tensors:
        return None
    if missing := [name for name in _NAMES if name not in tensors]:
        raise ValueError(
            f"LoRA {path} has slot tags without {', '.join(missing)}; needs all of them: load it "
            "again from where it is published."
        )
    f, w_0, b_0, w_2, b_2 = (tensors[name] for name in _NAMES)
    fits = f.ndim == 1 and w_0.shape == (len(b_0), 1 + 2 * len(f)) and b_2.ndim == 1
    if not fits or w_2.shape != (len(b_2), len(b_0)):
        shapes = ", ".join(f"{name} {list(tensors[name].shape)}" for name in _NAMES)
        raise ValueError(
            f"LoRA {path} has slot tags of shapes that do not fit each other ({shapes}); needs "
            "tags as BFS's or Licon's trainer writes them: load it again from where it is "
            "published."
        )
    return SlotTags(scale=scale, frequencies=f, hidden=(w_0, b_0), output=(w_2, b_2))
