"""How a run is stopped from outside: after a whole step, in all of its processes at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator


class Stopper:
    """Notes SIGTERM and SIGINT, so that a run ends after a whole step with a checkpoint."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, *_: object) -> None:
        self.requested = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        previous = {s: signal.signal(s, self.request) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def in_any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Whether `flag` holds in one of the processes: a signal may reach them at different steps."""
    if accelerator.num_processes == 1:
        return flag
    count = torch.tensor(float(flag), device=accelerator.device)
    return accelerator.reduce(count, "sum").item() > 0
