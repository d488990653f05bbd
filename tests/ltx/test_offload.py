"""Weights in host memory: they are pinned one after another, never all beside their copies."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import pytest
import torch
from diffusers.hooks import group_offloading
from torch import Tensor, nn

from stdrc_core.ltx.offload import offload_blocks, offload_layers

GPU = torch.device("cuda")
NUM_BLOCKS, WIDTH = 8, 64


class Blocks(nn.Module):
    """Blocks of one size, and a layer outside of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH))
            for _ in range(NUM_BLOCKS)
        )


class NoGPU:
    """Stands for diffusers' view of the GPU, since weights are only put away here."""

    def __init__(self, device: torch.device) -> None:
        self.Stream = object

    def current_stream(self) -> NoGPU:
        return self

    def synchronize(self) -> None:
        return None


class PinnedMemory:
    """Stands for pinned memory, which there is with a GPU alone, and counts what the host holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: nn.Module) -> None:
        self.module, self.peak_bytes = module, 0
        self._pinned: dict[int, weakref.ref[Tensor]] = {}
        monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: self.pin(tensor))
        monkeypatch.setattr(Tensor, "is_pinned", lambda tensor: tensor.data_ptr() in self._pinned)

    def pin(self, tensor: Tensor) -> Tensor:
        if tensor.data_ptr() in self._pinned:
            return tensor
        copy = tensor.clone()
        self._pinned[copy.data_ptr()] = weakref.ref(copy.untyped_storage())
        self.count()
        return copy

    def count(self) -> None:
        """All memory that weights or pinned copies hold now."""
        held = {p.data_ptr(): p.untyped_storage().nbytes() for p in self.module.parameters()}
        for address, storage in [*self._pinned.items()]:
            alive = storage()
            if alive is None:
                del self._pinned[address]
            else:
                held[address] = alive.nbytes()
        self.peak_bytes = max(self.peak_bytes, sum(held.values()))

    def pinned_weights(self) -> int:
        return sum(p.data_ptr() in self._pinned for p in self.module.parameters())


@pytest.mark.parametrize("offload", [offload_blocks, offload_layers])
def test_the_host_never_holds_the_weights_twice(
    offload: Callable[[nn.Module, torch.device], None], monkeypatch: pytest.MonkeyPatch
):
    module = Blocks()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    memory = PinnedMemory(monkeypatch, module)
    monkeypatch.setattr(group_offloading, "TorchDeviceBackend", NoGPU)
    offload(module, GPU)
    size = sum(p.nbytes for p in module.parameters())
    assert memory.peak_bytes <= size + max(p.nbytes for p in module.parameters())
    assert memory.pinned_weights() == len(before)
    for name, value in module.named_parameters():
        assert torch.equal(value, before[name])
