"""Decoupled text-reference guidance (Eq. 13), and which of its three streams need to run.

    v = v0 + s_y (vy - v0) + s_r (vyr - vy)
      = (1 - s_y) v0 + (s_y - s_r) vy + s_r vyr

v0 sees neither text nor reference, vy sees the text alone, and vyr sees both. The weights add up to
1, so the formula holds for velocities and for clean estimates alike. A stream of weight 0 need not
run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# The paper's s_y and s_r.
TEXT_SCALE = 5.0
REFERENCE_SCALE = 7.5


class Stream(StrEnum):
    """The three streams of Eq. 13: v0 (`empty`), vy (`text`) and vyr (`reference`)."""

    EMPTY = "empty"
    TEXT = "text"
    REFERENCE = "reference"


@dataclass(frozen=True, kw_only=True)
class GuidanceScales:
    """The scales of Eq. 13 at one step. Raises ValueError for a scale that is not finite."""

    text: float = TEXT_SCALE
    """s_y, how strongly the text is followed."""
    reference: float = REFERENCE_SCALE
    """s_r, how strongly the reference is followed."""
    audio: float | None = None
    """s_a, how strongly audio that is sampled with the video follows the text. None is s_y."""

    def __post_init__(self) -> None:
        for name, example in (
            ("text", TEXT_SCALE),
            ("reference", REFERENCE_SCALE),
            ("audio", TEXT_SCALE),
        ):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(
                    f"{name}_scale was {value}; it needs to be a finite number, "
                    f"for example {example}."
                )

    @property
    def weights(self) -> tuple[float, float, float]:
        """The weights of v0, vy and vyr in the video, which add up to 1."""
        return 1 - self.text, self.text - self.reference, self.reference

    @property
    def audio_is_apart(self) -> bool:
        """Whether the audio has another scale than the video's s_y."""
        return self.audio is not None and not _is_zero(self.audio - self.text)

    @property
    def runs_empty(self) -> bool:
        """Whether v0 has a weight other than 0, in the video or in the audio."""
        return not _is_zero(self.weights[0]) or (
            self.audio is not None and not _is_zero(1 - self.audio)
        )

    @property
    def runs_text(self) -> bool:
        """Whether vy has a weight other than 0."""
        return not _is_zero(self.weights[1])

    @property
    def runs_reference(self) -> bool:
        """Whether vyr has a weight other than 0.

        At s_y = s_r = 0 it has one in the audio alone, if s_a is not 0.
        """
        guides_audio = self.audio is not None and not _is_zero(self.audio) and not self.runs_text
        return not _is_zero(self.weights[2]) or guides_audio

    @property
    def text_side(self) -> Stream:
        """The stream that takes vy's place in the text step v0 + s_y (vy - v0).

        It is vy itself where vy has a weight. At s_y = s_r vy has none, and it is vyr. Where that
        has none either, in the video nor in the audio, it is v0, the only stream that is left.
        """
        if self.runs_text:
            return Stream.TEXT
        return Stream.REFERENCE if self.runs_reference else Stream.EMPTY

    @property
    def positive(self) -> Stream:
        """Of the streams that have a weight in the video, the one that sees the most: vyr, else vy,
        else v0."""
        if not _is_zero(self.weights[2]):
            return Stream.REFERENCE
        return Stream.TEXT if self.runs_text else Stream.EMPTY

    def guided_together(self) -> GuidanceScales:
        """Returns scales that treat text and reference as one condition: s_r = s_y, without vy."""
        return GuidanceScales(text=self.text, reference=self.text, audio=self.audio)

    def unguided(self) -> GuidanceScales:
        """Returns scales under which only the `positive` stream of these scales has a weight, in
        the audio too."""
        return GuidanceScales(
            text=0.0 if self.positive is Stream.EMPTY else 1.0,
            reference=float(self.positive is Stream.REFERENCE),
        )


# A function like `classifier_free_guidance`: (cond, uncond or None, scales) -> guided prediction.
ClassifierFreeGuidance = Callable[["Tensor", "Tensor | None", GuidanceScales], "Tensor"]


def classifier_free_guidance(cond: Tensor, uncond: Tensor | None, scales: GuidanceScales) -> Tensor:
    """Returns uncond + s_y (cond - uncond), all of one shape and without audio.

    `uncond` may be None where s_y is 1: the formula then gives `cond`.
    """
    return cond if uncond is None else uncond + scales.text * (cond - uncond)


def guide(
    scales: GuidanceScales,
    *,
    empty: Tensor | None,
    text: Tensor | None,
    reference: Tensor | None,
    cfg: ClassifierFreeGuidance = classifier_free_guidance,
) -> Tensor:
    """Returns Eq. 13 of three predictions of one shape, where those of weight 0 may be None.

    `empty`, `text` and `reference` are v0, vy and vyr. `cfg(cond, uncond, scales)` does the text
    step v0 + s_y (vy - v0): `uncond` is v0 and `cond` the prediction of `scales.text_side`. A host
    passes its own function here, so that the hooks that users have set on it run, and so that audio
    is guided by a scale of its own (`scales.audio`).
    """
    assert empty is not None or not scales.runs_empty, "v0 has a weight and no prediction"
    predictions = {Stream.EMPTY: empty, Stream.TEXT: text, Stream.REFERENCE: reference}
    guided = cfg(predictions[scales.text_side], empty, scales)
    if scales.runs_text and scales.runs_reference:
        guided = guided + scales.reference * (reference - text)
    return guided


def rescale(guided: Tensor, positive: Tensor, phi: float) -> Tensor:
    """Returns `guided` with its contrast brought towards `positive`; both are clean estimates.

        x <- phi x std(x_pos) / std(x) + (1 - phi) x

    This is guidance rescale (Lin et al. 2024, arXiv 2305.08891, Eq. 15-16). `guided` is x and
    `positive` is x_pos, both `[B, ...]`; the standard deviations are taken per sample. phi is in
    [0, 1], and 0 changes nothing. The stream to take for x_pos (`GuidanceScales.positive`) is our
    choice. LTX-2's own pipeline rescales clean estimates too, not velocities.
    """
    if phi == 0:
        return guided
    axes = tuple(range(1, guided.ndim))
    std = guided.float().std(axes, keepdim=True)
    ratio = positive.float().std(axes, keepdim=True) / std.where(std > 0, 1)
    return (guided * (phi * ratio + (1 - phi))).to(guided.dtype)


def _is_zero(weight: float) -> bool:
    # A slider may give 0.1 + 0.2 for 0.3, and a rounding error must not cost a forward pass.
    return math.isclose(weight, 0.0, abs_tol=1e-9)
