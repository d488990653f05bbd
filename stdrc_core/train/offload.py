"""Keeps in host memory what only waits on the GPU: inputs of checkpointed blocks, the idle VAE.

Values and gradients are bit for bit what they are without it. The frozen base stays on the GPU: in
8 bits it fits, and streaming it would take more time than all that is done here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from ..ltx.offload import offload_layers


def checkpoint_on_host(block: nn.Module, hidden: Tensor, *shared: object) -> tuple[Tensor, ...]:
    """Runs a block under torch's checkpoint; its input `hidden` waits in (pinned) host memory.

    What all blocks share (prompt, time, positions) stays on the device, which holds it once. This
    is the function that diffusers' `enable_gradient_checkpointing` takes.
    """
    host = save_on_cpu(pin_memory=hidden.is_cuda)

    def pack(saved: Tensor) -> object:
        is_hidden = saved.data_ptr() == hidden.data_ptr() and saved.shape == hidden.shape
        return host.pack_hook(saved) if is_hidden else saved

    def unpack(packed: object) -> Tensor:
        return packed if isinstance(packed, Tensor) else host.unpack_hook(packed)

    with saved_tensors_hooks(pack, unpack):
        return checkpoint(block, hidden, *shared, use_reentrant=False)


def park(module: nn.Module, device: torch.device) -> None:
    """Moves a frozen module to host memory; each of its layers is on `device` while it computes.

    It works without gradients only, since a layer has left the device when its backward pass would
    come.
    """
    offload_layers(module, device)
