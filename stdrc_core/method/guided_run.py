"""Eq. 13 over a run: which streams an evaluation of the model needs, and what is made of them.

`GuidedRun.predict` is the one place where a guided step is put together. The sampler of this
library, ComfyUI's guider and the schedule that is shown before a run all call it, each with its own
way to predict a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from .guidance import (
    ClassifierFreeGuidance,
    GuidanceScales,
    Stream,
    classifier_free_guidance,
    guide,
    rescale,
)
from .guidance_curve import scale_at
from .guidance_options import GuidanceOptions
from .multi_reference import layered_prediction

# Samplers come back to a sigma of the schedule by way of logarithms.
_SIGMA_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class StreamsAt:
    """What Eq. 13 asks of its streams at one sigma."""

    scales: GuidanceScales
    is_guided: bool
    """Whether streams are combined; otherwise the one that sees the most runs alone."""
    is_separate: bool
    """Whether text and reference are guided separately."""
    in_parts: bool
    """Whether the references count each by its own scale (`multi_reference`)."""

    @property
    def empty(self) -> bool:
        """Whether v0 has a weight."""
        return self.scales.runs_empty

    @property
    def text(self) -> bool:
        """Whether vy is needed, by its weight or to take the references in parts."""
        return self.scales.runs_text or self.in_parts

    @property
    def reference(self) -> bool:
        """Whether vyr has a weight."""
        return self.scales.runs_reference

    @property
    def have_direction(self) -> bool:
        """Whether there is a vyr - vy that may be kept; without vy, vyr itself is guided by."""
        return self.reference and self.text


@dataclass(frozen=True, kw_only=True)
class Forwards:
    """The forwards of the transformer that one evaluation needs."""

    empty: bool
    text: bool
    num_references: int
    """Forwards of vyr: 0 where it rests, 1, or one for each scale of the references' own."""

    @property
    def count(self) -> int:
        """How many forwards these are."""
        return self.empty + self.text + self.num_references


# v0, vy, and vyr of each forward that is asked for, all of one shape; None or nothing for others.
Predictions = tuple[Tensor | None, Tensor | None, Sequence[Tensor]]
Predict = Callable[[Forwards], Predictions]


class GuidedRun:
    """The guidance of one run. It keeps vyr - vy from step to step, so each run has its own.

    `percent_to_sigma` turns parts of sampling into sigmas. `part_scales` are the f_i of references
    whose scales differ, falling (`multi_reference.layers`).
    """

    def __init__(
        self,
        options: GuidanceOptions,
        percent_to_sigma: Callable[[float], float],
        *,
        part_scales: Sequence[float] = (1.0,),
    ) -> None:
        self.options = options
        self.start_sigma = percent_to_sigma(options.start_percent)
        self.end_sigma = percent_to_sigma(options.end_percent)
        self._part_scales = tuple(part_scales)
        self._kept = KeptDirection(options.reference_every)

    def streams_at(self, sigma: float, sigmas: Tensor) -> StreamsAt:
        """What an evaluation at `sigma` of the schedule `sigmas` `[N + 1]`, falling, is guided by.

        References whose scales differ are taken in parts only where they are guided separately
        from the text.
        """
        options = self.options
        scales = GuidanceScales(
            text=scale_at(options.text_scale, sigma),
            reference=scale_at(options.reference_scale, sigma),
        )
        num_guided = options.guided_share * (len(sigmas) - 1)
        is_guided = options.guided_share == 1 or step_of(sigma, sigmas) < num_guided
        is_separate = is_guided and self.end_sigma <= sigma <= self.start_sigma
        if not is_guided:
            scales = scales.unguided()
        elif not is_separate:
            scales = scales.guided_together()
        has_parts = len(self._part_scales) > 1
        return StreamsAt(
            scales=scales,
            is_guided=is_guided,
            is_separate=is_separate,
            in_parts=scales.runs_reference and is_separate and has_parts,
        )

    def needs_reference(self, sigmas: Tensor) -> bool:
        """Whether vyr runs in any of the steps from `sigmas` `[N + 1]`, of which the last is 0."""
        return any(self.streams_at(sigma, sigmas).reference for sigma in sigmas[:-1].tolist())

    def predict(
        self,
        sigma: float,
        sigmas: Tensor,
        predict: Predict,
        *,
        slope: float = 1.0,
        always_empty: bool = False,
        cfg: ClassifierFreeGuidance = classifier_free_guidance,
        join: Callable[[Tensor, Tensor], Tensor] | None = None,
        rescale: Callable[[Tensor, Tensor, float], Tensor] = rescale,
    ) -> Tensor:
        """The guided prediction at `sigma` of the schedule `sigmas` `[N + 1]`.

        `predict` makes the streams' predictions: velocities, or estimates of the clean latent,
        which are x - sigma v. `slope` is how a prediction changes with the velocity: 1 or -sigma.
        With `always_empty` v0 is asked for where its weight is 0 too, as a host's hooks may need.
        `cfg` does the text step (`guidance.guide`). `join(vyr, vy)` may put parts of vy into vyr
        before they are combined. `rescale(guided, positive, phi)` is `guidance.rescale` in the
        caller's kind of prediction.
        """
        runs = self.streams_at(sigma, sigmas)
        direction = self._kept.at(sigma, sigmas) if runs.have_direction else None
        computes_reference = runs.reference and direction is None
        num_parts = len(self._part_scales) if runs.in_parts else 1
        empty, text, references = predict(
            Forwards(
                empty=runs.empty or always_empty,
                text=runs.text,
                num_references=num_parts if computes_reference else 0,
            )
        )
        reference = references[-1] if references else None
        if direction is not None:
            reference = text + slope * direction
        elif computes_reference and runs.in_parts:
            layered = list(zip(self._part_scales, references, strict=True))
            reference = layered_prediction(text, layered)
        may_keep = computes_reference and runs.have_direction and slope != 0
        if may_keep and self.options.reference_every > 1:
            self._kept.keep((reference - text) / slope, sigma, sigmas)
        if join is not None and runs.have_direction:
            reference = join(reference, text)
        guided = guide(runs.scales, empty=empty, text=text, reference=reference, cfg=cfg)
        phi = self.options.guidance_rescale
        if phi == 0:
            return guided
        predictions = {Stream.EMPTY: empty, Stream.TEXT: text, Stream.REFERENCE: reference}
        return rescale(guided, predictions[runs.scales.positive], phi)


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
