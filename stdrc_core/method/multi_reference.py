"""Several references in one clip: where each stands, how strongly it is seen and guided by.

All of them stand in one stream, vyr, so three streams stay three. Where their scales differ, the
reference step of Eq. 13 is taken in parts, the most guided references first:

    s_r (vyr - vy)  becomes  sum_i s_r f_i (v_i - v_(i-1)),    v_0 = vy

v_i sees the references of the i highest scales f_1 > f_2 > ...; the last one sees all of them, and
each further scale costs a stream. The paper has one reference; this is our extension.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from .guidance_options import GuidanceOptions


@dataclass(frozen=True, kw_only=True)
class PlacedReference:
    """One of several references. Their order means nothing: each keeps its slot."""

    slot: int
    """Its place (layout): 0, 1, ..."""
    strength: float = 1.0
    """Weight of the attention between its tokens and the video's: 0 is none, 1 as trained."""
    scale: float = 1.0
    """Its share f of the guidance scale s_r."""
    has_own_size: bool = False
    """Whether it was encoded at a size of its own, which need not be the video's."""

    def __post_init__(self) -> None:
        """Raises ValueError for a slot below 0, or a number that is negative or not finite."""
        if self.slot < 0:
            raise ValueError(f"slot was {self.slot}; needs 0 or more.")
        for name in ("strength", "scale"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} of a reference was {value}; needs a number of 0 or more.")


def in_order(num_references: int) -> tuple[PlacedReference, ...]:
    """References of which nothing is said: slots 0, 1, ..., all seen and guided by alike."""
    return tuple(PlacedReference(slot=slot) for slot in range(num_references))


def layers(references: Sequence[PlacedReference]) -> list[tuple[float, list[int]]]:
    """The f_i, falling, and which references v_i sees, by their index.

    References of scale 0 are in none. Equal scales give one layer, of all references.
    """
    scales = sorted({each.scale for each in references if each.scale > 0}, reverse=True)
    return [
        (scale, [index for index, each in enumerate(references) if each.scale >= scale])
        for scale in scales
    ]


def with_common_scale(
    options: GuidanceOptions, references: Sequence[PlacedReference]
) -> tuple[GuidanceOptions, tuple[PlacedReference, ...]]:
    """A scale that all references share goes into s_r, and costs no stream.

    References of scale 0 are not used, and do not count.
    """
    scales = {each.scale for each in references if each.scale > 0} or {0.0}
    if len(scales) != 1:
        return options, tuple(references)
    (common,) = scales
    return (
        replace(options, reference_scale=options.reference_scale * common),
        tuple(replace(each, scale=float(each.scale == common)) for each in references),
    )


def layered_prediction(text: Tensor, predictions: Sequence[tuple[float, Tensor]]) -> Tensor:
    """vy + sum_i f_i (v_i - v_(i-1)): what stands for vyr in Eq. 13.

    `text` is vy; `predictions` are the f_i and v_i in the order of `layers`, all of one shape.
    """
    result = before = text
    for scale, prediction in predictions:
        result = result + scale * (prediction - before)
        before = prediction
    return result
