"""From which cosine on two faces count as one person, measured on the footage itself.

A pack's cosines differ by how it was trained, and by how the footage was lit and coded. Faces that
are seen in one frame are two persons, and faces of one track are one, so that every footage holds
pairs whose answer is known: the two sides of the pack's verification curve.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from .tracks import Track, mean_embedding

T = TypeVar("T")

# Without enough pairs of two persons. ArcFace is below 0.2 for two persons and above 0.4 for most
# pictures of one.
DEFAULT = 0.4
# The least and the highest threshold that is taken from the footage.
LOWEST, HIGHEST = 0.3, 0.6
_LEAST_PAIRS = 50
# Of pairs of two persons one in a thousand may be taken for one, and of pairs of one person one in
# a hundred may be missed; the threshold is in the middle between the two.
_FALSE_ACCEPTS, _FALSE_REJECTS = 1e-3, 1e-2
# Two tracks that are seen together for so long are two persons.
_TOGETHER_S = 0.2


def threshold(tracks: Sequence[Track], good: Sequence[Sequence[int]]) -> float:
    """The threshold for the tracks, whose `good` faces are told by number."""
    different = [
        float(mean_embedding(one, a) @ mean_embedding(other, b))
        for (one, a), (other, b) in together(list(zip(tracks, good, strict=True)))
    ]
    # The first and the last face of a track are farthest apart.
    same = [
        float(track.embedding[faces[0]] @ track.embedding[faces[-1]])
        for track, faces in zip(tracks, good, strict=True)
        if len(faces) > 1
    ]
    if min(len(different), len(same)) < _LEAST_PAIRS:
        return DEFAULT
    highest_different = np.quantile(different, 1 - _FALSE_ACCEPTS)
    lowest_same = np.quantile(same, _FALSE_REJECTS)
    middle = float(highest_different + lowest_same) / 2
    return round(min(HIGHEST, max(LOWEST, middle)), 4)


def together(tracks: Sequence[tuple[Track, T]]) -> Iterator[tuple[tuple[Track, T], ...]]:
    """Pairs of tracks that are seen at the same time, which are two persons."""
    shots: dict[tuple[str, int], list[tuple[Track, T]]] = {}
    for each in tracks:
        shots.setdefault((each[0].footage, each[0].shot), []).append(each)
    for own in shots.values():
        for one, other in itertools.combinations(own, 2):
            shared_s = min(one[0].end_s, other[0].end_s) - max(one[0].start_s, other[0].start_s)
            if shared_s >= _TOGETHER_S:
                yield one, other
