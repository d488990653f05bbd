"""Eq. 13 over a run: which streams an evaluation of the model needs, and how they are combined.

`GuidedRun.predict` is the one place where a guided step is put together. The sampler of this
library, the guider in ComfyUI and the schedule that is shown before a run all call it, each with
its own way to predict a stream.
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

# Some samplers compute with log(sigma), so a sigma of the schedule comes back slightly changed.
_SIGMA_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class StreamsAt:
    """Which scales Eq. 13 has at one sigma, and which streams it needs there."""

    scales: GuidanceScales
    """The scales s_y, s_r and s_a at this sigma."""
    is_guided: bool
    """Whether streams are combined; if not, the one that sees the most runs alone."""
    is_separate: bool
    """Whether text and reference are guided separately."""
    in_parts: bool
    """Whether each reference is guided by a scale of its own (`multi_reference`)."""

    @property
    def empty(self) -> bool:
        """Whether v0 has a weight, in the video or in the audio."""
        return self.scales.runs_empty

    @property
    def text(self) -> bool:
        """Whether vy is needed: it has a weight, or the references are taken in parts."""
        return self.scales.runs_text or self.in_parts

    @property
    def reference(self) -> bool:
        """Whether vyr has a weight, in the video or in the audio."""
        return self.scales.runs_reference

    @property
    def have_direction(self) -> bool:
        """Whether both vy and vyr are needed, so that there is a vyr - vy which may be kept."""
        return self.reference and self.text


@dataclass(frozen=True, kw_only=True)
class Forwards:
    """The forward passes of the transformer that one evaluation of the guided model needs."""

    empty: bool
    """Whether v0 runs."""
    text: bool
    """Whether vy runs."""
    num_references: int
    """How often vyr runs: 0 where it is not needed or a kept direction stands for it, else 1, or
    once for each scale where the references are taken in parts."""


# v0, vy and a list of vyr, one for each of its forward passes, all of one shape. v0 and vy may be
# None where they were not asked for.
Predictions = tuple[Tensor | None, Tensor | None, Sequence[Tensor]]
# Runs the forward passes that it is asked for.
Predict = Callable[[Forwards], Predictions]


class GuidedRun:
    """The guidance of one run. It keeps vyr - vy from step to step, so each run has its own."""

    def __init__(
        self,
        options: GuidanceOptions,
        percent_to_sigma: Callable[[float], float],
        *,
        part_scales: Sequence[float] = (1.0,),
    ) -> None:
        """`percent_to_sigma` turns a point of sampling, in [0, 1], into its sigma.

        `part_scales` are the f_i of `multi_reference.layers`, the highest first; there is more than
        one where the scales of the references differ.
        """
        self.options = options
        self.start_sigma = percent_to_sigma(options.start_percent)
        self.end_sigma = percent_to_sigma(options.end_percent)
        self._part_scales = tuple(part_scales)
        self._kept = KeptDirection(options.reference_every)

    def streams_at(
        self, sigma: float, sigmas: Tensor, text_scale: float | None = None
    ) -> StreamsAt:
        """Returns what Eq. 13 needs at `sigma`, where `sigmas` `[N + 1]` is the falling schedule.

        `text_scale` takes the place of that of the options. References whose scales differ are
        taken in parts only where they are guided separately from the text.
        """
        options, audio_scale = self.options, self.options.audio_scale
        scales = GuidanceScales(
            text=scale_at(options.text_scale, sigma) if text_scale is None else text_scale,
            reference=scale_at(options.reference_scale, sigma),
            audio=None if audio_scale is None else scale_at(audio_scale, sigma),
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
            in_parts=scales.positive is Stream.REFERENCE and is_separate and has_parts,
        )

    def needs_reference(self, sigmas: Tensor) -> bool:
        """Returns whether vyr is needed in any step of the falling schedule `sigmas` `[N + 1]`."""
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
        text_scale: float | None = None,
    ) -> Tensor:
        """Returns the guided prediction at `sigma` of the falling schedule `sigmas` `[N + 1]`.

        `predict` runs the streams that are needed. Their predictions are velocities v, or clean
        estimates x - sigma v. `slope` is the factor of v in them: 1 for velocities, -sigma for
        clean estimates. With `always_empty`, v0 runs even where its weight is 0, which hooks of a
        host may need. `cfg` does the text step (see `guidance.guide`). `join(a, b)` returns the
        prediction a with the audio of b, where there is audio; vyr is given vy's before they are
        combined. `rescale(guided, positive, phi)` is `guidance.rescale` for the kind of prediction
        that the caller has. `text_scale` takes the place of that of the options.
        """
        runs = self.streams_at(sigma, sigmas, text_scale)
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
        positive = predictions[runs.scales.positive]
        if join is not None and runs.scales.audio_is_apart:
            positive = join(positive, predictions[runs.scales.text_side])
        return rescale(guided, positive, phi)


class KeptDirection:
    """The direction vyr - vy of one run, computed every k-th step and kept for the steps between.

    An evaluation at sigma belongs to step i of the schedule where
    sigmas[i] >= sigma > sigmas[i + 1]. So a sampler that evaluates the model more than once in a
    step (heun, dpm_2) computes the direction in all evaluations of a step or in none. The first
    step that needs the direction computes it, then the k-th step after that one, and so on. Where
    sigma rises again, the direction is computed anew. With k = 1 nothing is kept.

    What is kept is a difference of velocities, to which each step applies its own scale.
    """

    def __init__(self, reference_every: int) -> None:
        """`reference_every` is k, at least 1."""
        self._every = reference_every
        self._step = 0
        self._direction: Tensor | None = None

    def at(self, sigma: float, sigmas: Tensor) -> Tensor | None:
        """Returns the kept direction to use at `sigma`, or None where it has to be computed.

        `sigmas` `[N + 1]` is the falling schedule.
        """
        if self._direction is None:
            return None
        age = step_of(sigma, sigmas) - self._step
        return self._direction if 0 < age < self._every else None

    def keep(self, direction: Tensor, sigma: float, sigmas: Tensor) -> None:
        """Keeps `direction`, the vyr - vy that was computed at `sigma`, as velocities."""
        if self._every > 1:
            self._step, self._direction = step_of(sigma, sigmas), direction


def step_of(sigma: float, sigmas: Tensor) -> int:
    """Returns the i with sigmas[i] >= sigma > sigmas[i + 1], where `sigmas` `[N + 1]` fall.

    Above the first of `sigmas` it is -1.
    """
    return int((sigmas >= sigma * (1 - _SIGMA_TOLERANCE)).sum()) - 1
