"""Differences between two systems on the same clips, with bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000
# Resamples whose indices are held at once.
_CHUNK = 500


class Difference(BaseModel):
    """Of a metric: B - A, mean over the clips that both have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_clips: int
    num_persons: int
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    """Bounds of the 95 % confidence interval of the difference."""
    share_b_higher: float
    """Share of clips that B scores higher on; equal ones count half."""

    @property
    def is_certain(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    persons: Sequence[str],
    generator: torch.Generator,
    num_resamples: int = NUM_RESAMPLES,
) -> Difference:
    """Of clips in the same order, each with its person.

    Percentile bootstrap over persons, with all of a person's clips: clips of one person are not
    independent. Where each clip has a person of its own, this is the bootstrap over clips.
    """
    values_a, values_b = (torch.tensor(each, dtype=torch.float64) for each in (a, b))
    differences = values_b - values_a
    sums, counts = _by_person(differences, persons)
    means = []
    for start in range(0, num_resamples, _CHUNK):
        size = (min(_CHUNK, num_resamples - start), len(sums))
        drawn = torch.randint(len(sums), size, generator=generator)
        means.append(sums[drawn].sum(dim=1) / counts[drawn].sum(dim=1))
    tail = (1 - CONFIDENCE) / 2
    low, high = torch.cat(means).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64))
    higher = (differences > 0).double() + (differences == 0).double() / 2
    return Difference(
        num_clips=len(differences),
        num_persons=len(sums),
        mean_a=float(values_a.mean()),
        mean_b=float(values_b.mean()),
        difference=float(differences.mean()),
        low=float(low),
        high=float(high),
        share_b_higher=float(higher.mean()),
    )


def _by_person(differences: Tensor, persons: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Each person's sum of differences and number of clips."""
    places = {person: place for place, person in enumerate(dict.fromkeys(persons))}
    index = torch.tensor([places[person] for person in persons])
    zeros = differences.new_zeros(len(places))
    return (
        zeros.index_add(0, index, differences),
        zeros.index_add(0, index, torch.ones_like(differences)),
    )
