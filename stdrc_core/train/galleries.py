"""Photos of one person: which photos of a cache a sample may show together (reference.num_photos).

They are the sample's own references, where all of them are of one person, and the first references
of the person's other samples. No photo is taken twice, and none that is cut from the sample's own
shot, or where the shot is not known from its window: it may be of the very frames that the model is
to make, whatever clip it was cut out for.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ..faces.gallery import STRANGERS_COSINE
from .cache import Cache, FurtherReference, Sample
from .dataset_entry import Origin
from .draws import Portrait

# Of the frames in which the faces of two photos were found, the share that shows both at one place
# where both photos are of one person.
_SAME_PERSON_SHARE = 0.5

log = logging.getLogger(__name__)


class Gallery(Sequence[Portrait]):
    """Photos of a person; one is read from the cache when it is looked at.

    The log tells, once for each person, of a photo that seems to show somebody else.
    """

    def __init__(
        self, cache: Cache, places: Sequence[tuple[int, int]], sample: Sample, told: set[str]
    ) -> None:
        """`places` are the sample's index and the slot of each photo, beside the one of `sample`.
        `told` are the persons that the log has told of."""
        self.cache, self.places = cache, places
        self._person, self._e_ref, self._told = sample.identity, sample.e_ref, told
        self._own = f"{sample.reference_source} of clip {Path(sample.video).name}"

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Portrait:
        """Raises ValueError where the photo's shard is missing or damaged."""
        index, slot = self.places[number]
        pixels, e_ref = self.cache.photo(index, slot)
        person, cosine = self._person, float(self._e_ref @ e_ref)
        if person is not None and cosine < STRANGERS_COSINE and person not in self._told:
            self._told.add(person)
            log.warning(
                "identity %s: %s and %s seem to show two persons, as their faces' "
                "cosine is %.2f; a person's photos should be of that person alone.",
                person,
                self._own,
                self.cache.reference_source(index) if not slot else f"its reference {slot}",
                cosine,
            )
        return Portrait(photo=as_photo(pixels), e_ref=e_ref)


class Galleries:
    """The galleries of all samples of a cache."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.told: set[str] = set()
        self.of_person: dict[str, list[int]] = {}
        for index, identity in enumerate(cache.identities):
            if identity is not None:
                self.of_person.setdefault(identity, []).append(index)

    def of(self, index: int, sample: Sample) -> Gallery | None:
        """The photos of the person of `sample`, without its first reference.

        `index` is the sample's in the cache. None where its references are of several persons.
        """
        if not all(shows_same_person(sample, each) for each in sample.further):
            return None
        places = [(index, slot) for slot in range(1, 1 + len(sample.further))]
        sources = (sample.reference_source, *(each.source for each in sample.further))
        origins = (sample.origin, *(each.origin for each in sample.further))
        taken = {origin or source for origin, source in zip(origins, sources, strict=True)}
        for other in self.of_person.get(sample.identity, ()):
            photo = self.cache.origin(other)
            if photo not in taken and not _is_of_own_clip(photo, sample):
                taken.add(photo)
                places.append((other, 0))
        return Gallery(self.cache, places, sample, self.told)


def most_photos(cache: Cache, limit: int | None) -> int:
    """The most references that a sample of the cache shows at once, where `limit` is
    `reference.max_photos`; photos that are left out as of the sample's own shot are counted.

    Samples without a name of a person may show several, who are all shown.
    """
    counts = cache.reference_counts
    if limit is None:
        return max(counts)
    photos: dict[str, set[Origin | str]] = {}
    for index, person in enumerate(cache.identities):
        if person is not None:
            photos.setdefault(person, set()).add(cache.origin(index))
    return max(
        count if person is None else min(limit, count - 1 + len(photos[person]))
        for count, person in zip(counts, cache.identities, strict=True)
    )


def _is_of_own_clip(photo: Origin | str, sample: Sample) -> bool:
    """Whether a photo is cut out of the sample's clip; a cache from before origins were noted tells
    it in words alone."""
    if isinstance(photo, Origin):
        return sample.shot is not None and sample.shot.holds(photo)
    return photo.endswith(f" of {Path(sample.video).name}")


def shows_same_person(sample: Sample, other: FurtherReference) -> bool:
    """Whether a further reference was found at the same faces of the clip as the first one."""
    both = sample.has_face & other.has_face
    same = (sample.boxes == other.boxes).all(dim=1) & both
    return bool(same.sum() > _SAME_PERSON_SHARE * both.sum())


def as_photo(pixels: Tensor) -> Tensor:
    """A photo of the cache, `[h, w, 3]` uint8, as the objective takes it: `[1, h, w, 3]` floats in
    [0, 1]."""
    return pixels[None].float() / 255
