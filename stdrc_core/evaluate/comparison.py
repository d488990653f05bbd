"""What a comparison of two evaluations is: differences on the same clips, with bootstrap confidence
intervals over persons."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict

from .tables import person_sums

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000
# How many resamples' indices are held at once.
_CHUNK = 500


class Difference(BaseModel):
    """A metric's difference B - A on the clips that both evaluations scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_clips: int
    num_persons: int
    """How many persons the clips show."""
    mean_a: float
    mean_b: float
    difference: float
    """The mean of B - A over the clips."""
    low: float
    """The lower bound of the difference's 95 % confidence interval, by the bootstrap over
    persons."""
    high: float
    """The upper bound of it."""
    share_b_higher: float
    """The share of clips that B scores higher on; equal ones count half."""

    @property
    def is_certain(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


class Comparison(BaseModel):
    """What compare.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    a: str
    """The name of the evaluation A."""
    b: str
    """The name of the evaluation B."""
    num_common: int
    """How many clips both have."""
    num_only_a: int
    """How many clips A alone has."""
    num_only_b: int
    """How many clips B alone has."""
    metrics: dict[str, Difference]
    """Metric -> B - A."""
    left_out: dict[str, str]
    """Metric -> why it is not compared."""


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    persons: Sequence[str],
    generator: torch.Generator,
    num_resamples: int = NUM_RESAMPLES,
) -> Difference:
    """The difference of the scores `b` - `a`, of clips in the same order, each with its person.

    The interval is the percentile bootstrap over persons, each drawn with all of its clips, since
    clips of one person are not independent. Where each clip has a person of its own, it is the
    bootstrap over clips.
    """
    values_a, values_b = (torch.tensor(each, dtype=torch.float64) for each in (a, b))
    differences = values_b - values_a
    sums, counts = map(torch.from_numpy, person_sums(differences.tolist(), persons))
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
