"""A guidance scale that goes from one value to another while sampling, as sigma falls.

    s(sigma) = start + w(p) (end - start)
    p = (start_sigma - sigma) / (start_sigma - end_sigma), clamped to [0, 1]

sigma is the noise level of flow matching, the t of z_t = (1 - t) z_0 + t eps: it is 1 at the start
of sampling and 0 at its end. w is the shape of the curve. Above `start_sigma` the scale is exactly
`start`, and below `end_sigma` it is exactly `end`. The paper's scales are constant; curves are ours
(docs/method.md section 12).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum


class CurveShape(StrEnum):
    """The shape w of a curve, a function from w(0) = 0 to w(1) = 1."""

    LINEAR = "linear"
    """w(p) = p."""
    COSINE = "cosine"
    """w(p) = (1 - cos(pi p)) / 2, which changes slowly at both ends."""
    EARLY = "early"
    """w(p) = 1 - (1 - p)^2, which changes early."""
    LATE = "late"
    """w(p) = p^2, which changes late."""

    def __call__(self, p: float) -> float:
        """Returns w(p) for p in [0, 1]."""
        match self:
            case CurveShape.LINEAR:
                return p
            case CurveShape.COSINE:
                return (1 - math.cos(math.pi * p)) / 2
            case CurveShape.EARLY:
                return 1 - (1 - p) ** 2
            case CurveShape.LATE:
                return p**2


@dataclass(frozen=True, kw_only=True)
class GuidanceCurve:
    """A guidance scale as a function of sigma."""

    start: float
    """The scale at `start_sigma` and above, where the noise is high."""
    end: float
    """The scale at `end_sigma` and below, where the noise is low."""
    shape: CurveShape = CurveShape.LINEAR
    """How the scale goes from `start` to `end`."""
    start_sigma: float = 1.0
    """The sigma at which the scale begins to change."""
    end_sigma: float = 0.0
    """The sigma at which the scale has become `end`; below `start_sigma` and not below 0."""

    def __post_init__(self) -> None:
        """Raises ValueError for a scale that is not finite, and for sigmas that do not fall."""
        for name in ("start", "end"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(
                    f"{name} of a guidance curve was {getattr(self, name)}; needs a finite number."
                )
        if not 0 <= self.end_sigma < self.start_sigma < math.inf:
            raise ValueError(
                f"start_sigma was {self.start_sigma} and end_sigma {self.end_sigma}; a guidance "
                "curve needs start_sigma above end_sigma, and both 0 or more."
            )

    def at(self, sigma: float) -> float:
        """Returns s(sigma)."""
        p = (self.start_sigma - sigma) / (self.start_sigma - self.end_sigma)
        if p >= 1:
            return self.end
        return self.start + self.shape(max(p, 0.0)) * (self.end - self.start)

    def __mul__(self, factor: float) -> GuidanceCurve:
        """Returns the curve with its two scales multiplied by `factor`."""
        return replace(self, start=self.start * factor, end=self.end * factor)


# A constant guidance scale, or one that changes with sigma.
Scale = float | GuidanceCurve


def scale_at(scale: Scale, sigma: float) -> float:
    """Returns the value of `scale` at `sigma`."""
    return scale.at(sigma) if isinstance(scale, GuidanceCurve) else scale


def read_scale(text: str | float) -> Scale:
    """Reads a number, or a curve START:END[:SHAPE[:START_SIGMA:END_SIGMA]], such as 5:1:cosine.

    Raises ValueError for any other text.
    """
    if not isinstance(text, str):
        return float(text)
    parts = text.split(":")
    try:
        if len(parts) == 1:
            return float(text)
        numbers = [float(part) for part in (*parts[:2], *parts[3:])]
        shape = CurveShape(parts[2]) if len(parts) > 2 else CurveShape.LINEAR
        names = ("start", "end", "start_sigma", "end_sigma")[: len(numbers)]
        if len(numbers) not in (2, 4):
            raise ValueError(f"{len(parts)} parts")
        return GuidanceCurve(shape=shape, **dict(zip(names, numbers, strict=True)))
    except ValueError as error:
        raise ValueError(
            f"guidance scale was {text!r} ({error}); needs a number, or a curve such as 5:1, "
            "5:1:cosine or 5:1:cosine:0.9:0.2 (start, end, shape, start_sigma, end_sigma; shapes: "
            f"{', '.join(CurveShape)})."
        ) from error
