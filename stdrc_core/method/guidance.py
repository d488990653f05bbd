"""Decoupled text-reference guidance (Eq. 13), and which of its three streams need to run.

    v = v0 + s_y (vy - v0) + s_r (vyr - vy)
      = (1 - s_y) v0 + (s_y - s_r) vy + s_r vyr

v0 sees neither text nor reference, vy the text alone, vyr both. The weights add up to 1, so the
formula holds for velocities and for denoised estimates alike; a stream of weight 0 need not run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

TEXT_SCALE = 5.0
REFERENCE_SCALE = 7.5


class Stream(StrEnum):
    """v0, vy and vyr of Eq. 13."""

    EMPTY = "empty"
    TEXT = "text"
    REFERENCE = "reference"


@dataclass(frozen=True, kw_only=True)
class GuidanceScales:
    """s_y and s_r of Eq. 13. Any finite value; the defaults are the paper's."""

    text: float = TEXT_SCALE
    reference: float = REFERENCE_SCALE

    def __post_init__(self) -> None:
        for name in ("text", "reference"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(
                    f"{name}_scale was {value}; it needs to be a finite number, "
                    f"for example {getattr(type(self), name)}."
                )

    @property
    def weights(self) -> tuple[float, float, float]:
        """Weights of (v0, vy, vyr); they add up to 1."""
        return 1 - self.text, self.text - self.reference, self.reference

    @property
    def runs_empty(self) -> bool:
        return not _is_zero(self.weights[0])

    @property
    def runs_text(self) -> bool:
        return not _is_zero(self.weights[1])

    @property
    def runs_reference(self) -> bool:
        return not _is_zero(self.weights[2])

    @property
    def text_side(self) -> Stream:
        """The stream in vy's place in the text step v0 + s_y (vy - v0).

        At s_y = s_r it is vyr, and vy drops out; at s_y = s_r = 0 only v0 is left.
        """
        if self.runs_text:
            return Stream.TEXT
        return Stream.REFERENCE if self.runs_reference else Stream.EMPTY

    @property
    def positive(self) -> Stream:
        """The stream that sees the most of those that run."""
        return Stream.REFERENCE if self.runs_reference else self.text_side

    def guided_together(self) -> GuidanceScales:
        """Text and reference as one condition, s_r = s_y: vy drops out."""
        return GuidanceScales(text=self.text, reference=self.text)

    def unguided(self) -> GuidanceScales:
        """Without guidance: of what these scales use, the stream that sees the most, alone."""
        return GuidanceScales(
            text=0.0 if self.positive is Stream.EMPTY else 1.0, reference=float(self.runs_reference)
        )


ClassifierFreeGuidance = Callable[[Tensor, Tensor | None, GuidanceScales], Tensor]


def classifier_free_guidance(cond: Tensor, uncond: Tensor | None, scales: GuidanceScales) -> Tensor:
    """uncond + s_y (cond - uncond); without an `uncond` s_y is 1 and `cond` is returned."""
    return cond if uncond is None else uncond + scales.text * (cond - uncond)


def guide(
    scales: GuidanceScales,
    *,
    empty: Tensor | None,
    text: Tensor | None,
    reference: Tensor | None,
    cfg: ClassifierFreeGuidance = classifier_free_guidance,
) -> Tensor:
    """Eq. 13 on three predictions of one shape; those of weight 0 may be None.

    `cfg(cond, uncond, scales)` does the text step v0 + s_y (vy - v0), so that a host can bring its
    own with its hooks; `cond` is the prediction of `scales.text_side`.
    """
    assert empty is not None or not scales.runs_empty, "v0 has a weight and no prediction"
    predictions = {Stream.EMPTY: empty, Stream.TEXT: text, Stream.REFERENCE: reference}
    guided = cfg(predictions[scales.text_side], empty, scales)
    if scales.runs_text and scales.runs_reference:
        guided = guided + scales.reference * (reference - text)
    return guided


def rescale(guided: Tensor, positive: Tensor, phi: float) -> Tensor:
    """Guidance rescale (Lin et al. 2024, arXiv 2305.08891, Eq. 15-16), on clean estimates:

        x <- phi x std(x_pos) / std(x) + (1 - phi) x

    `guided` x and `positive` x_pos `[B, ...]`, the standard deviations per sample; phi in [0, 1],
    0 is off. Of three streams the positive one is vyr (`GuidanceScales.positive`): our choice. That
    clean estimates are rescaled, not velocities, is that of LTX-2's own pipeline.
    """
    if phi == 0:
        return guided
    axes = tuple(range(1, guided.ndim))
    std = guided.float().std(axes, keepdim=True)
    ratio = positive.float().std(axes, keepdim=True) / std.where(std > 0, 1)
    return (guided * (phi * ratio + (1 - phi))).to(guided.dtype)


def _is_zero(weight: float) -> bool:
    # Sliders give 0.1 + 0.2 for 0.3: a rounding error must not cost a forward pass.
    return math.isclose(weight, 0.0, abs_tol=1e-9)
