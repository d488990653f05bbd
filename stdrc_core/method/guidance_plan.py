"""Guidance over the steps of a run: scales over sigma, a window, rescale, and kept directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from torch import Tensor

from .guidance import REFERENCE_SCALE, TEXT_SCALE, GuidanceScales
from .guidance_curve import Scale, scale_at

# Samplers come back to a sigma of the schedule by way of logarithms.
_SIGMA_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class GuidancePreset:
    """What guidance may leave out to save time; the fields are those of `pipeline.Shot`."""

    start_percent: float = 0.0
    end_percent: float = 1.0
    reference_every: int = 1
    guided_share: float = 1.0

    def filling(self, **chosen: float) -> dict[str, float]:
        """Values of some of the fields: `chosen` where it is not the exact one, else this one's."""
        own = asdict(self)
        return {k: own[k] if v == getattr(EXACT, k) else v for k, v in chosen.items()}


EXACT = GuidancePreset()
# `python -m stdrc_core.experiments guidance` measures what each of these costs.
PRESETS: Mapping[str, GuidancePreset] = MappingProxyType(
    {"exact": EXACT, "fast": GuidancePreset(reference_every=3, guided_share=0.5)}
)


@dataclass(frozen=True, kw_only=True)
class StreamsAt:
    """Which streams of Eq. 13 one evaluation of the model needs."""

    scales: GuidanceScales
    is_guided: bool
    is_separate: bool
    """Whether text and reference are guided separately."""
    in_parts: bool
    """Whether the references count each by its own scale, in streams of their own (`placed`)."""

    @property
    def empty(self) -> bool:
        return self.scales.runs_empty

    @property
    def text(self) -> bool:
        return self.scales.runs_text or self.in_parts

    @property
    def reference(self) -> bool:
        return self.scales.runs_reference

    @property
    def have_direction(self) -> bool:
        """Whether there is a vyr - vy that may be kept; without vy, vyr itself is guided by."""
        return self.reference and self.text


@dataclass(frozen=True, kw_only=True)
class GuidancePlan:
    """Eq. 13 over a run. The defaults are the paper's: constant scales, all streams, all steps.

    `text` and `reference` are s_y and s_r, numbers or curves over sigma. Outside of
    [`end_sigma`, `start_sigma`] text and reference are guided together (s_r = s_y), which saves the
    text stream. `rescale` is phi of `guidance.rescale`. Inside of these sigmas, vyr - vy is
    computed every `reference_every`-th step and kept between (`KeptDirection`). After the first
    `guided_share` of a run's steps nothing is guided: the stream that sees the most runs alone.
    """

    text: Scale = TEXT_SCALE
    reference: Scale = REFERENCE_SCALE
    start_sigma: float = math.inf
    end_sigma: float = 0.0
    rescale: float = 0.0
    reference_every: int = EXACT.reference_every
    guided_share: float = EXACT.guided_share

    def __post_init__(self) -> None:
        """Raises ValueError for a scale that is not finite, a phi or a share outside [0, 1], or a k
        below 1."""
        GuidanceScales(text=scale_at(self.text, 1.0), reference=scale_at(self.reference, 1.0))
        if not 0 <= self.rescale <= 1:
            raise ValueError(
                f"guidance_rescale was {self.rescale}; needs a number from 0 (off) to 1."
            )
        if self.reference_every < 1:
            raise ValueError(
                f"reference_every was {self.reference_every}; needs 1 (every step) or more."
            )
        if not 0 <= self.guided_share <= 1:
            raise ValueError(
                f"guided_share was {self.guided_share}; needs a number from 0 (no step is guided) "
                "to 1 (all are)."
            )

    def at(self, sigma: float, sigmas: Tensor) -> GuidanceScales:
        """s_y and s_r at `sigma` of the schedule `sigmas` `[N + 1]`, falling."""
        return self.streams_at(sigma, sigmas).scales

    def streams_at(self, sigma: float, sigmas: Tensor, *, has_parts: bool = False) -> StreamsAt:
        """What an evaluation at `sigma` of the schedule `sigmas` `[N + 1]` needs.

        `has_parts`: references whose scales differ. Where they are not guided separately from the
        text, they are guided together all the same.
        """
        text, reference = scale_at(self.text, sigma), scale_at(self.reference, sigma)
        scales = GuidanceScales(text=text, reference=reference)
        num_steps = len(sigmas) - 1
        is_guided = self.guided_share == 1 or step_of(sigma, sigmas) < self.guided_share * num_steps
        is_separate = is_guided and self.end_sigma <= sigma <= self.start_sigma
        if not is_guided:
            scales = scales.unguided()
        elif not is_separate:
            scales = scales.guided_together()
        return StreamsAt(
            scales=scales,
            is_guided=is_guided,
            is_separate=is_separate,
            in_parts=scales.runs_reference and is_separate and has_parts,
        )

    def needs_reference(self, sigmas: Tensor) -> bool:
        """Whether vyr runs in any of the steps from `sigmas` `[N + 1]`, of which the last is 0."""
        return any(self.at(sigma, sigmas).runs_reference for sigma in sigmas[:-1].tolist())


class KeptDirection:
    """vyr - vy of one run, computed every k-th step and kept for the steps between.

    A step is a stretch of the schedule: an evaluation at sigma belongs to step i where
    sigmas[i] >= sigma > sigmas[i + 1]. So a sampler that evaluates the model more than once in a
    step (heun, dpm_2) computes the direction in all evaluations of a step or in none. The first
    step that needs the direction computes it, then the k-th after it, and so on; where sigma rises
    again, it is computed. k = 1 keeps nothing: each evaluation is exact.

    The direction is that of velocities, which guidance scales at each step anew.
    """

    def __init__(self, reference_every: int) -> None:
        self._every = reference_every
        self._step = 0
        self._direction: Tensor | None = None

    def at(self, sigma: float, sigmas: Tensor) -> Tensor | None:
        """The direction to use again at `sigma` of the schedule `sigmas`; None: compute it."""
        if self._direction is None:
            return None
        age = step_of(sigma, sigmas) - self._step
        return self._direction if 0 < age < self._every else None

    def keep(self, direction: Tensor, sigma: float, sigmas: Tensor) -> None:
        """`direction` is vyr - vy, velocities, as computed at `sigma`."""
        if self._every > 1:
            self._step, self._direction = step_of(sigma, sigmas), direction


def step_of(sigma: float, sigmas: Tensor) -> int:
    """The i of sigmas[i] >= sigma > sigmas[i + 1], `sigmas` falling; -1 above the first."""
    return int((sigmas >= sigma * (1 - _SIGMA_TOLERANCE)).sum()) - 1


def check_window(start_percent: float, end_percent: float) -> None:
    """Raises ValueError for parts of sampling that are none."""
    if not 0 <= start_percent <= end_percent <= 1:
        raise ValueError(
            f"start_percent was {start_percent} and end_percent {end_percent}; needs "
            "0 <= start_percent <= end_percent <= 1."
        )
