"""Several references in one clip: where each stands, and how strongly it is seen and followed.

All of them stand in one stream, vyr, so that three streams stay three. Where their scales differ,
the reference step of Eq. 13 is taken in parts, from the highest scale to the lowest:

    s_r (vyr - vy)  becomes  sum_i s_r f_i (v_i - v_(i-1)),    v_0 = vy

v_i sees the references that have one of the i highest scales f_1 > f_2 > ..., so the last one sees
all of them. Each further scale costs one more stream. The paper has one reference; this is our
extension (docs/method.md section 11).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from .guidance_options import GuidanceOptions


@dataclass(frozen=True, kw_only=True)
class PlacedReference:
    """One of several references. Their order means nothing, since each has its slot."""

    slot: int
    """The slot k = 0, 1, ... in which the reference stands (layout)."""
    strength: float = 1.0
    """The weight of the attention between the reference's tokens and the video's: 0 is none, and 1
    is what the model was trained with."""
    scale: float = 1.0
    """The share f of the guidance scale s_r that the reference gets."""
    has_own_size: bool = False
    """Whether the reference was encoded at a size of its own, which need not be the video's."""

    def __post_init__(self) -> None:
        """Raises ValueError for a slot below 0, and for a strength or scale that is negative or not
        finite."""
        if self.slot < 0:
            raise ValueError(f"slot was {self.slot}; needs 0 or more.")
        for name in ("strength", "scale"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} of a reference was {value}; needs a number of 0 or more.")


def in_order(num_references: int) -> tuple[PlacedReference, ...]:
    """Returns so many references in the slots 0, 1, ..., of the default strength and scale."""
    return tuple(PlacedReference(slot=slot) for slot in range(num_references))


def layers(references: Sequence[PlacedReference]) -> list[tuple[float, list[int]]]:
    """Returns for each v_i its scale f_i and the indices of the references that it sees.

    The f_i fall. Where all scales are equal there is one layer, with all references. References of
    scale 0 are in no layer.
    """
    scales = sorted({each.scale for each in references if each.scale > 0}, reverse=True)
    return [
        (scale, [index for index, each in enumerate(references) if each.scale >= scale])
        for scale in scales
    ]


def with_common_scale(
    options: GuidanceOptions, references: Sequence[PlacedReference]
) -> tuple[GuidanceOptions, tuple[PlacedReference, ...]]:
    """Returns options and references with a scale that all references share moved into s_r.

    References of scale 0 are not used and do not count for this. Where the others have more than
    one scale, options and references are returned as they are.
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
    """Returns vy + sum_i f_i (v_i - v_(i-1)), which takes the place of vyr in Eq. 13.

    `text` is vy, which is v_0 too; `predictions` are the pairs (f_i, v_i) in the order of `layers`.
    All predictions have one shape.
    """
    result = before = text
    for scale, prediction in predictions:
        result = result + scale * (prediction - before)
        before = prediction
    return result
