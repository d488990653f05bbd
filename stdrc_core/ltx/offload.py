"""Keeps weights in host memory, from which they reach the GPU while they are used.

The GPU takes them from pinned memory, which the system does not move. diffusers pins all weights
that it is given before it lets the first of them go, so that the host would hold them twice; here
they are pinned before, one by one.
"""

from __future__ import annotations

from itertools import chain

import torch
from diffusers.hooks import apply_group_offloading
from torch import nn

_HOST = torch.device("cpu")


def offload_blocks(module: nn.Module, device: torch.device) -> None:
    """Keeps the blocks of `module` in host memory; each is on `device`, a GPU, in its turn.

    While one computes the next is copied. What is not in a block is on `device` while `module`
    runs.
    """
    pin(module)
    apply_group_offloading(
        module,
        onload_device=device,
        offload_device=_HOST,
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=True,
    )


def offload_layers(module: nn.Module, device: torch.device) -> None:
    """Keeps `module` in host memory; each of its layers is on `device` while it computes."""
    uses_stream = device.type == "cuda"
    if uses_stream:
        pin(module.to(_HOST))
    apply_group_offloading(
        module,
        onload_device=device,
        offload_device=_HOST,
        offload_type="leaf_level",
        use_stream=uses_stream,
    )


def pin(module: nn.Module) -> None:
    """Moves the weights of a module in host memory to pinned memory, one after another.

    The place that a weight had before is free when the next one is moved.
    """
    for tensor in chain(module.parameters(), module.buffers()):
        tensor.data = tensor.data.pin_memory()
