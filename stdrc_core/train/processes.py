"""What the processes of one run do together besides training: they wait, tell and agree.

A step's collectives end a run after `STEP_TIMEOUT`, so that a process that hangs is noticed. Where
one process may really work for hours while the others wait (it embeds prompts, samples, decodes,
writes), they meet in a process group of their own, whose patience is `PATIENCE`. A process that
dies is noticed at once in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor

T = TypeVar("T")

STEP_TIMEOUT = timedelta(minutes=30)
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those of the run; by itself a run has one process."""

    rank: int = 0
    count: int = 1
    patient: Any = None
    """The process group of long waits, on the CPU; None where the process is alone."""

    @classmethod
    def of(cls, accelerator: Accelerator) -> Processes:
        """The processes that `accelerator` distributes over; all of them must call it."""
        count = accelerator.num_processes
        patient = None
        if count > 1:
            patient = dist.new_group(backend="gloo", timeout=PATIENCE)
        return cls(rank=accelerator.process_index, count=count, patient=patient)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Waits, for hours if need be, until all processes are here."""
        if self.patient is not None:
            dist.barrier(self.patient)

    def from_main(self, value: T) -> T:
        """The main process's value, for which the others may wait for hours."""
        if self.patient is None:
            return value
        told = [value]
        dist.broadcast_object_list(told, src=0, group=self.patient)
        return told[0]

    def gathered(self, value: T) -> list[T]:
        """The values of all processes, on the main one; the others get none."""
        if self.patient is None:
            return [value]
        values: list[Any] | None = [None] * self.count if self.is_main else None
        dist.gather_object(value, values, dst=0, group=self.patient)
        return values or []


def in_any_process(accelerator: Accelerator, flag: bool | Tensor) -> bool:
    """Whether `flag`, which may be a tensor of one element, holds in one of the processes."""
    if accelerator.num_processes == 1:
        return bool(flag)
    count = torch.as_tensor(flag, dtype=torch.float32, device=accelerator.device)
    return accelerator.reduce(count, "sum").item() > 0
