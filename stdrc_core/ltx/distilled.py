"""Distilled weights: which guidance they have inside, and how a run makes one pass of it.

They predict Eq. 13 of the weights that they were distilled from in the stream vyr alone, so that a
run has s_y = s_r = 1. Weights of a range are told their scales by an embedding besides
(guidance_embedding).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..method.guidance_curve import Scale
from ..method.guidance_options import GuidanceOptions

# A scale that was distilled: a number, or the lowest and the highest of a range.
DistilledScale = float | tuple[float, float]
_TOLERANCE = 1e-6
# What is told of the preset one-pass where no weights say that they are distilled.
UNDISTILLED = (
    "preset was one-pass, and the weights do not say that they are distilled: likeness and prompt "
    "are not guided."
)


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """The guidance that distilled weights have inside."""

    text_scale: DistilledScale
    """The s_y."""
    reference_scale: DistilledScale
    """The s_r."""

    @property
    def has_range(self) -> bool:
        """Whether the scales are an input of the weights."""
        return any(isinstance(scale, tuple) for scale in (self.text_scale, self.reference_scale))

    @property
    def advice(self) -> str:
        """What the user has to know of the scales, in a sentence."""
        how = (
            "the scales of a run are given to them" if self.has_range else "leave both scales at 1"
        )
        return f"They are distilled for {self}, in one pass in place of three: {how}."

    def doubt(self, options: GuidanceOptions) -> str | None:
        """What is wrong with the scales of a run, in a sentence; None where nothing is.

        Both at 1 are always right: a range then has the scales that it begins with.
        """
        given = options.text_scale, options.reference_scale
        if _are_one(given):
            return None
        told = f"text_scale was {given[0]} and reference_scale {given[1]}"
        if not self.has_range:
            return (
                f"{told}, and the weights have {self} inside; they need 1 and 1, or they are "
                "guided twice."
            )
        learned = (self.text_scale, self.reference_scale)
        if all(map(_is_in, given, learned)):
            return None
        return (
            f"{told}, and the weights are distilled for {self}; they need numbers that are within."
        )

    def in_one_pass(
        self, options: GuidanceOptions, begin: tuple[float, float]
    ) -> tuple[GuidanceOptions, tuple[float, float] | None]:
        """Returns the options that a run samples with, and the s_y and s_r to embed.

        Weights of a range run with both scales at 1 and embed those that were asked for, or `begin`
        where both are 1. Other weights embed none, and their options stay as they are.

        Raises ValueError for a curve, since the embedded scales hold for a whole run.
        """
        if not self.has_range:
            return options, None
        given = options.text_scale, options.reference_scale
        if not all(isinstance(scale, int | float) for scale in given):
            raise ValueError(
                f"text_scale was {given[0]} and reference_scale {given[1]}, and the weights are "
                f"distilled for {self}, the same in all steps; needs numbers: leave curves out."
            )
        embedded = begin if _are_one(given) else given
        return replace(options, text_scale=1.0, reference_scale=1.0), embedded

    def __str__(self) -> str:
        of_text, of_reference = map(_shown, (self.text_scale, self.reference_scale))
        return f"text_scale {of_text} and reference_scale {of_reference}"


def _are_one(scales: tuple[Scale, Scale]) -> bool:
    return all(isinstance(s, int | float) and abs(s - 1) < _TOLERANCE for s in scales)


def _is_in(scale: Scale, learned: DistilledScale) -> bool:
    low, high = learned if isinstance(learned, tuple) else (learned, learned)
    is_number = isinstance(scale, int | float)
    return is_number and low - _TOLERANCE <= scale <= high + _TOLERANCE


def _shown(scale: DistilledScale) -> str:
    return f"{scale[0]:g} to {scale[1]:g}" if isinstance(scale, tuple) else f"{scale:g}"
