"""Several photos of one person: what a face is compared with, and whether they are of one person.

The published protocol has one photo. With several, a face's cosine is with the direction of the
photos' mean embedding, or with the photo nearest to it (ours).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import StrEnum

import torch
from torch import Tensor

from ..method.identity import mean_direction

# Photos of two persons have a cosine below these, as a rule. Ours: photos are refused below the
# lower one alone, since those of one person in other poses and lights are far apart too.
STRANGERS_COSINE, DOUBTFUL_COSINE = 0.1, 0.2

log = logging.getLogger(__name__)


class GalleryRule(StrEnum):
    """What a face is compared with where there are several photos."""

    MEAN = "mean"
    NEAREST = "nearest"

    @property
    def words(self) -> str:
        """What it is, for reports."""
        return {
            GalleryRule.MEAN: "by their mean embedding",
            GalleryRule.NEAREST: "by the nearest photo of each frame",
        }[self]


def gallery_embedding(photos: Sequence[Tensor], rule: GalleryRule) -> Tensor:
    """The `e_ref` of one or more photos, whose embeddings are `[D]` of length 1.

    Of one photo it is the embedding itself. Of several it is their mean scaled to length 1, `[D]`,
    or with the rule `nearest` all of them, `[P, D]`: a face's cosine is then the highest.
    """
    if len(photos) == 1:
        return photos[0]
    stacked = torch.stack(tuple(photos))
    return mean_direction(stacked) if rule is GalleryRule.MEAN else stacked


def check_one_person(photos: Sequence[Tensor], names: Sequence[str]) -> None:
    """Raises ValueError where photos with these embeddings, `[D]` of length 1, show two persons.

    Photos of one person may be unlike one another, but each is like some other one. Where they may
    show two, the log tells. `names` are what messages call the photos.
    """
    if len(photos) < 2:
        return
    stacked = torch.stack(tuple(photos))
    cosines = (stacked @ stacked.T).fill_diagonal_(-1)
    if (parted := _parted(cosines, STRANGERS_COSINE)) is not None:
        one, other, cosine = parted
        raise ValueError(
            f"{names[one]} and {names[other]} seem to show two persons, as their faces' cosine is "
            f"{cosine:.2f}; needs photos of one person, {STRANGERS_COSINE} or more: take one of "
            "them out."
        )
    if (parted := _parted(cosines, DOUBTFUL_COSINE)) is not None:
        one, other, cosine = parted
        log.warning(
            "%s and %s may show two persons, as their faces' cosine is %.2f; needs photos of one.",
            names[one],
            names[other],
            cosine,
        )


def _parted(cosines: Tensor, least: float) -> tuple[int, int, float] | None:
    """The nearest photos of two groups that no cosine of `least` or more joins, and their cosine;
    None where there is one group.

    `cosines` are of all pairs of photos, with -1 on the diagonal.
    """
    person = {0}
    while grown := _like(cosines, person, least):
        person |= grown
    others = [place for place in range(len(cosines)) if place not in person]
    if not others:
        return None
    between = cosines[sorted(person)][:, others]
    row, column = divmod(int(between.argmax()), len(others))
    return sorted(person)[row], others[column], float(between.max())


def _like(cosines: Tensor, person: set[int], least: float) -> set[int]:
    """The photos outside of `person` that are like one of it."""
    nearest = cosines[sorted(person)].amax(dim=0)
    return {place for place in range(len(nearest)) if nearest[place] >= least} - person
