"""Which samples a step takes, as a function of the step's number alone.

A resumed run therefore goes on as if it had never stopped, and the split over processes does not
matter.
"""

from __future__ import annotations

import torch

from .objective import seeded_generator


def batch_indices(num_samples: int, batch_size: int, step: int, seed: int) -> list[int]:
    """The indices of the samples of one step over all processes, each in [0, num_samples).

    Every epoch is a permutation of the samples, drawn from `seed` and the epoch's number.
    """
    places = [divmod(p, num_samples) for p in range(step * batch_size, (step + 1) * batch_size)]
    orders = {epoch: _order(num_samples, epoch, seed) for epoch in {epoch for epoch, _ in places}}
    return [int(orders[epoch][place]) for epoch, place in places]


def own_share(batch_size: int, rank: int, num_processes: int) -> range:
    """The places in the batch, counted from 0, that process `rank` works on.

    Raises ValueError where the batch cannot be shared evenly.
    """
    if batch_size % num_processes:
        raise ValueError(
            f"run.batch_size was {batch_size} on {num_processes} processes; needs a multiple of "
            "the number of processes."
        )
    share = batch_size // num_processes
    return range(rank * share, (rank + 1) * share)


def _order(num_samples: int, epoch: int, seed: int) -> torch.Tensor:
    """The epoch's permutation, `[num_samples]`."""
    return torch.randperm(num_samples, generator=seeded_generator(seed, epoch, -1))
