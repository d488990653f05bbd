"""Runs a network on frames of many clips, a full batch at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class FrameBatches:
    """Gathers inputs of one shape, whatever clip they are from, and runs a network on them."""

    def __init__(self, network: Callable[[Tensor], Tensor], size: int, device: torch.device):
        """`network` maps `[B, ...]` on `device` to `[B, ...]`; B is at most `size`."""
        self._network, self._size, self._device = network, size, device
        self._waiting: list[tuple[Tensor, list[Tensor]]] = []

    def add(self, item: Tensor, into: list[Tensor]) -> None:
        """Appends the network's output for `item`, on the CPU, to `into`: now or by `flush`."""
        if self._waiting and self._waiting[0][0].shape != item.shape:
            self.flush()
        self._waiting.append((item, into))
        if len(self._waiting) >= self._size:
            self.flush()

    @torch.inference_mode()
    def flush(self) -> None:
        """Runs the network on what still waits."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        outputs = self._network(torch.stack([item for item, _ in waiting]).to(self._device))
        for output, (_, into) in zip(outputs.cpu(), waiting, strict=True):
            into.append(output)
