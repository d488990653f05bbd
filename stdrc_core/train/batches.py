"""Which samples a step takes, as a function of the step's number alone, and what it does with them.

A resumed run therefore goes on as if it had never stopped, and neither the split over processes nor
how early a batch is made matters.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .ahead import ahead
from .config import TrainConfig
from .draws import Draws, TrainingSample, draw, seeded_generator
from .objective import Objective


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """Samples that go through the model at once, with all that is drawn for them."""

    indices: list[int]
    """The samples' indices in the cache."""
    samples: list[TrainingSample]
    draws: list[Draws]
    share: float
    """Its share of the samples that this process has in the step."""
    is_last: bool
    """Whether it is the process's last one of the step."""

    def on(self, device: torch.device) -> MicroBatch:
        """The micro-batch with what the model reads on `device`; faces stay where they are.

        Pinned memory goes to a GPU without the CPU waiting for it.
        """
        return self._moved(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> MicroBatch:
        """The micro-batch with what goes to a GPU in pinned memory."""
        return self._moved(Tensor.pin_memory)

    def _moved(self, move: Callable[[Tensor], Tensor]) -> MicroBatch:
        return replace(
            self,
            samples=[
                replace(sample, latent=move(sample.latent), context=move(sample.context))
                for sample in self.samples
            ],
            draws=[
                replace(
                    choice,
                    noise=move(choice.noise),
                    photos=None if choice.photos is None else tuple(map(move, choice.photos)),
                )
                for choice in self.draws
            ],
        )


class Batches:
    """Makes one process's micro-batches: reads the samples, draws, augments and fits the photos."""

    def __init__(
        self,
        config: TrainConfig,
        samples: Sequence[TrainingSample],
        objective: Objective,
        *,
        rank: int,
        num_processes: int,
        pins: bool,
    ) -> None:
        """`pins` puts what goes to a GPU in pinned memory.

        Raises ValueError where the batch cannot be shared evenly.
        """
        self.config, self.samples, self.objective, self.pins = config, samples, objective, pins
        places = own_share(config.run.batch_size, rank, num_processes)
        size = config.run.micro_batch_size
        self.places = [places[i : i + size] for i in range(0, len(places), size)]

    def ahead(self, steps: Iterable[int]) -> Generator[MicroBatch, None, None]:
        """The micro-batches of `steps` in turn, `len(self.places)` a step.

        `data.prefetch` of them are made ahead, by a thread. Raises ValueError for a sample that
        cannot be read, when its turn comes.
        """
        turns = ((step, number) for step in steps for number in range(len(self.places)))
        return ahead(self._made, turns, self.config.data.prefetch, "batches")

    def _made(self, turn: tuple[int, int]) -> MicroBatch:
        (step, number), config = turn, self.config
        places = self.places[number]
        of_step = batch_indices(len(self.samples), config.run.batch_size, step, config.run.seed)
        indices = [of_step[place] for place in places]
        samples = [self.samples[index] for index in indices]
        draws = [
            self.objective.with_photos(
                sample,
                draw(sample, (config.run.seed, step, place), config.objective, config.reference),
            )
            for sample, place in zip(samples, places, strict=True)
        ]
        batch = MicroBatch(
            indices=indices,
            samples=samples,
            draws=draws,
            share=len(places) / sum(map(len, self.places)),
            is_last=number == len(self.places) - 1,
        )
        return batch.pinned() if self.pins else batch


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
