"""The processes that share an evaluation, as accelerate or torchrun started them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch

from ..device import open_device

# One process may have much longer clips than another.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Processes:
    """This process among all."""

    rank: int
    count: int
    device: torch.device
    _state: Any

    def wait(self) -> None:
        """Until all are here."""
        self._state.wait_for_everyone()


def open_processes(device: str) -> Processes:
    """Of `device`, each process of several takes its own. Raises ValueError for an unknown one."""
    from accelerate import PartialState

    chosen = open_device(device)
    state = PartialState(cpu=chosen.type == "cpu", timeout=_PATIENCE)
    if state.num_processes > 1:
        chosen = state.device
    return Processes(state.process_index, state.num_processes, chosen, state)
