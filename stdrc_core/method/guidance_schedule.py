"""What the guidance of a run will do, told before it runs.

It says which streams run in which steps, how many forward passes that takes, and which of the
settings change nothing.

Each step counts as one evaluation of the model at the step's first sigma, as with Euler. Samplers
that evaluate the model more often (heun, dpm_2) run the same streams in each evaluation of a step.
Where the run's steps are not known yet, a dense row of sigmas stands for all that there may be.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .guidance_curve import GuidanceCurve, Scale, scale_at
from .guidance_options import GuidanceOptions
from .guided_run import Forwards, GuidedRun, Predictions, StreamsAt


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a run, with one evaluation of the model."""

    number: int
    """The step's number, counted from 1."""
    sigma: float
    """The sigma at which the model is evaluated."""
    runs: StreamsAt
    """The streams that Eq. 13 needs at this sigma."""
    forwards: Forwards
    """The forward passes that really run."""

    @property
    def uses_again(self) -> bool:
        """Whether vyr does not run and the direction of an earlier step is used in its place."""
        return self.runs.have_direction and self.forwards.num_references == 0

    @property
    def kind(self) -> tuple[bool, ...]:
        """What two steps in a row need to have in common to be told in one line."""
        runs = self.runs
        return self.forwards.empty, runs.text, runs.reference, runs.in_parts, runs.is_separate


def steps_of(run: GuidedRun, sigmas: Tensor, *, always_empty: bool = False) -> tuple[Step, ...]:
    """Returns the N steps of a run over the falling schedule `sigmas` `[N + 1]`.

    `run` goes through all of them, with zeros in the place of predictions. `always_empty` says
    that v0 runs even where its weight is 0, which a hook may ask for.
    """
    steps = []
    for number, sigma in enumerate(sigmas[:-1].tolist(), start=1):
        asked: list[Forwards] = []

        def predict(forwards: Forwards, asked: list[Forwards] = asked) -> Predictions:
            asked.append(forwards)
            zeros = torch.zeros(1, 2)
            return zeros, zeros, [zeros] * forwards.num_references

        run.predict(sigma, sigmas, predict, always_empty=always_empty)
        (forwards,) = asked
        runs = run.streams_at(sigma, sigmas)
        steps.append(Step(number=number, sigma=sigma, runs=runs, forwards=forwards))
    return tuple(steps)


def told(steps: Sequence[Step]) -> Iterator[str]:
    """Yields a line for each stretch of steps with the same streams, and one with all forwards."""
    for group in _stretches(steps):
        first, last = group[0], group[-1]
        where = f"In step {first.number}, sigma {first.sigma:.4g}"
        if len(group) > 1:
            where = f"In steps {first.number} to {last.number}, "
            where += f"sigma {first.sigma:.4g} to {last.sigma:.4g}"
        again = ""
        if any(step.uses_again for step in group):
            again = (
                f" vyr runs in {_numbers(s for s in group if s.forwards.num_references)}; its "
                f"direction is used again in {_numbers(s for s in group if s.uses_again)}."
            )
        yield f"{where}: {_streams_and_scales(group)}.{again}"
    counts = {
        "v0": sum(step.forwards.empty for step in steps),
        "vy": sum(step.runs.text for step in steps),
        "vyr": sum(step.forwards.num_references for step in steps),
    }
    shown = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    yield (
        f"Forwards in all: {sum(counts.values())} ({shown}) in {len(steps)} steps of a sampler "
        "that evaluates once a step, as euler does."
    )


def told_by_sigma(options: GuidanceOptions, steps: Sequence[Step]) -> Iterator[str]:
    """Yields the lines of `told` where the run's own steps are not known.

    `steps` then stand for any that there may be, so that neither steps nor forward passes are
    counted.
    """
    for group in _stretches(steps):
        where = f"From sigma {group[0].sigma:.4g} to {group[-1].sigma:.4g}"
        keeps = options.reference_every > 1 and group[0].runs.have_direction
        again = f", vyr in one of {options.reference_every} steps" if keeps else ""
        yield f"{where}: {_streams_and_scales(group)}{again}."
    if options.guided_share < 1:
        yield (
            f"So much for the first {options.guided_share:g} of the steps; the others are not "
            "guided: the stream that sees the most runs alone."
        )


def without_effect(
    options: GuidanceOptions, steps: Sequence[Step], *, are_known: bool = True
) -> Iterator[str]:
    """Yields a sentence for each of `options` that changes nothing or contradicts another one.

    `are_known` says whether `steps` are those of the run; if not, they stand for any that there
    may be.
    """
    guided = [step for step in steps if step.runs.is_guided]
    inside = [step for step in guided if step.runs.is_separate]
    has_window = len(inside) < len(guided)
    if not guided:
        yield f"guided_share is {options.guided_share:g}, so no step is guided: no scale is used."
    elif not inside:
        yield (
            "start_percent and end_percent hold none of the steps, so reference_scale is not used: "
            "text and reference are guided together in all of them."
        )
    elif has_window and all(_is_together(step) for step in inside):
        yield (
            "start_percent and end_percent change nothing: reference_scale is text_scale inside of "
            "them as well."
        )
    if not any(step.runs.reference for step in steps):
        yield "The reference is used in no step: reference_scale is 0 in all of them."
    yield from _of_reference_every(options.reference_every, steps, are_known)
    is_apart = any(step.runs.scales.audio_is_apart for step in guided)
    if options.audio_scale is not None and guided and not is_apart:
        yield "audio_scale changes nothing: it is text_scale in every step that is guided."
    yield from _of_curve("text_curve", options.text_scale, guided)
    yield from _of_curve("reference_curve", options.reference_scale, inside)
    if options.guidance_rescale and not any(_combines_streams(step) for step in steps):
        yield (
            f"guidance_rescale is {options.guidance_rescale:g} and changes nothing: no step "
            "combines streams."
        )


def _of_reference_every(every: int, steps: Sequence[Step], are_known: bool) -> Iterator[str]:
    if every == 1 or not any(step.runs.reference for step in steps):
        return
    have_direction = [step for step in steps if step.runs.have_direction]
    told = f"reference_every is {every}"
    if not have_direction:
        yield f"{told} and changes nothing: no step runs vy beside vyr, so there is no vyr - vy."
    elif not are_known:
        return
    elif not any(step.uses_again for step in steps):
        first = have_direction[0].number
        yield f"{told} and changes nothing: vy and vyr run both in step {first} alone."
    elif (
        sum(step.forwards.num_references for step in have_direction)
        == have_direction[0].forwards.num_references
    ):
        yield (
            f"{told}, and {len(have_direction)} steps run vy and vyr: the direction is computed "
            f"once, in step {have_direction[0].number} at sigma {have_direction[0].sigma:.4g}, and "
            "serves all others."
        )


def _of_curve(name: str, scale: Scale, steps: Sequence[Step]) -> Iterator[str]:
    if not isinstance(scale, GuidanceCurve) or scale.start == scale.end or len(steps) < 2:
        return
    values = {scale_at(scale, step.sigma) for step in steps}
    if len(values) == 1:
        yield (
            f"{name} changes between sigma {scale.start_sigma:g} and {scale.end_sigma:g}, where no "
            f"step is that heeds it: it is {values.pop():g} in all of them."
        )


def _stretches(steps: Sequence[Step]) -> Iterator[list[Step]]:
    for _, group in itertools.groupby(steps, key=lambda step: step.kind):
        yield list(group)


def _streams_and_scales(steps: Sequence[Step]) -> str:
    runs = steps[0].runs
    names = [
        name
        for name, does in (
            ("v0", steps[0].forwards.empty),
            ("vy", runs.text),
            ("vyr", runs.reference),
        )
        if does
    ]
    if runs.in_parts:
        names[-1] += f" in {max(step.forwards.num_references for step in steps)} parts"
    text = f"{', '.join(names)}; {_scales('text_scale', steps)}"
    if runs.scales.audio is not None:
        text += f", {_scales('audio_scale', steps)}"
    if not runs.is_guided:
        return f"{', '.join(names)}; not guided"
    if runs.is_separate:
        return f"{text}, {_scales('reference_scale', steps)}"
    return f"{text}, text and reference guided together"


def _scales(name: str, steps: Sequence[Step]) -> str:
    field = name.removesuffix("_scale")
    first, last = (getattr(step.runs.scales, field) for step in (steps[0], steps[-1]))
    return f"{name} {first:.4g}" + (f" to {last:.4g}" if first != last else "")


def _numbers(steps: Iterator[Step]) -> str:
    return ", ".join(str(step.number) for step in steps) or "none of them"


def _is_together(step: Step) -> bool:
    return step.runs.scales == step.runs.scales.guided_together() and not step.runs.in_parts


def _combines_streams(step: Step) -> bool:
    return sum((step.runs.empty, step.runs.text, step.runs.reference)) > 1
