"""The section `objective.distil` of a recipe: which guidance the student learns (see `config`)."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ..method.guidance import REFERENCE_SCALE, TEXT_SCALE
from .section import Section

Scale = float | tuple[float, float]


class DistilSection(Section):
    """One pass in place of three: the student learns the velocity that guides the frozen base.

    Its target is Eq. 13 of the base's three streams, in place of the clip's own velocity.
    """

    text_scale: Scale = TEXT_SCALE
    """The s_y that the student learns: a number, or a range such as [1, 6] out of which each sample
    draws one, so that the user may choose it later."""
    reference_scale: Scale = REFERENCE_SCALE
    """The s_r that the student learns: a number or a range, as `objective.distil.text_scale`."""
    trajectory_share: float = Field(0.25, ge=0, le=1)
    """The share of samples that are states of the guided base's own sampling, which begins at
    noise, in place of noised clips; identity losses look at the other samples alone."""
    trajectory_steps: int = Field(8, ge=1)
    """How many steps the base samples a whole clip in for such a state; more cost more passes of
    the base, of which a state takes half as many on average."""

    @property
    def ranges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The lowest and the highest s_y, and those of s_r; a number is a range of itself."""
        return _range(self.text_scale), _range(self.reference_scale)

    @property
    def has_range(self) -> bool:
        """Whether the scales are an input of the student."""
        return any(low < high for low, high in self.ranges)

    @field_validator("text_scale", "reference_scale", mode="before")
    @classmethod
    def _is_number_or_range(cls, value: Any, info: ValidationInfo) -> Any:
        bounds = list(value) if isinstance(value, list | tuple) else [value, value]
        if len(bounds) != 2 or not all(map(_is_scale, bounds)):
            raise ValueError(
                f"objective.distil.{info.field_name} was {value!r}; needs a number of 0 or more, "
                "or a range of two, such as [1, 6]"
            )
        # A range of one number is that number: there is nothing to choose.
        return bounds[0] if bounds[0] == bounds[1] else value

    @model_validator(mode="after")
    def _ranges_rise(self) -> DistilSection:
        for name, (low, high) in zip(("text_scale", "reference_scale"), self.ranges, strict=True):
            if low > high:
                raise ValueError(
                    f"objective.distil.{name} was [{low:g}, {high:g}]; needs the lower scale first"
                )
        return self


def _is_scale(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < math.inf


def _range(scale: Scale) -> tuple[float, float]:
    return scale if isinstance(scale, tuple) else (scale, scale)
