"""From which cosine on two faces count as one person, measured on the footage itself.

A pack's cosines differ by how it was trained, and by how the footage was lit and coded. Every
footage shows both sides of the pack's verification curve. Faces of one track are one person. Faces
that are seen in one frame are two; where too few are, nearly all pairs of tracks of different
videos are two persons too, so that the middle and the spread of their cosines tell how high those
of two persons reach. Of few persons they do not, and then the side of one person decides alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch

from .tracks import Track, mean_embedding, overlapped

T = TypeVar("T")

# Without enough tracks. ArcFace is below 0.2 for two persons and above 0.4 for most
# pictures of one.
DEFAULT = 0.4
# The least and the highest threshold that is taken from the footage.
LOWEST, HIGHEST = 0.3, 0.75
_LEAST_PAIRS, _LEAST_TRACKS, _MOST_TRACKS = 1000, 12, 2000
# Of pairs of two persons one in a thousand may be taken for one; of pairs of single faces of one
# person, which are less alike than means of many are, one in ten may be missed. The threshold is in
# the middle between the two.
_FALSE_ACCEPTS, _FALSE_REJECTS = 1e-3, 0.1
# By so much the threshold is below faces of one person at least, as their means still differ.
_BELOW_SAME = 0.1
# A normal distribution exceeds its mean by so many standard deviations once in a thousand times,
# and half of it is within so many of its mean.
_DEVIATIONS, _HALF_DEVIATIONS = 3.09, 0.6745
# Where the middle of all pairs is above this, they are not of many persons.
_MOST_MIDDLE = 0.25
# Two tracks that are seen together for so long are two persons.
_TOGETHER_S = 0.2


def threshold(tracks: Sequence[Track], good: Sequence[Sequence[int]]) -> float:
    """The threshold for the tracks, whose `good` faces are told by number."""
    # The first and the last face of a track are farthest apart.
    same = [
        float(track.embedding[faces[0]] @ track.embedding[faces[-1]])
        for track, faces in zip(tracks, good, strict=True)
        if len(faces) > 1
    ]
    if len(same) < _LEAST_TRACKS:
        return DEFAULT
    lowest_same = float(np.quantile(same, _FALSE_REJECTS))
    highest_different = _highest_different(tracks, good)
    found = lowest_same - _BELOW_SAME
    if highest_different is not None:
        found = min(found, (highest_different + lowest_same) / 2)
    return round(min(HIGHEST, max(LOWEST, found)), 4)


def _highest_different(tracks: Sequence[Track], good: Sequence[Sequence[int]]) -> float | None:
    """The cosine that one in a thousand pairs of two persons exceeds; None if it is not known."""
    known = [
        float(mean_embedding(one, a) @ mean_embedding(other, b))
        for (one, a), (other, b) in together(list(zip(tracks, good, strict=True)))
    ]
    if len(known) >= _LEAST_PAIRS:
        return float(np.quantile(known, 1 - _FALSE_ACCEPTS))
    if len(tracks) < _LEAST_TRACKS:
        return None
    step = -(-len(tracks) // _MOST_TRACKS)
    chosen = list(zip(tracks, good, strict=True))[::step]
    means = torch.stack([mean_embedding(track, faces) for track, faces in chosen])
    videos = np.array([track.footage for track, _ in chosen])
    cosines = (means @ means.T).numpy()[videos[:, None] < videos[None, :]]
    if not len(cosines):
        return None
    middle = float(np.median(cosines))
    if middle > _MOST_MIDDLE:
        return None
    # Pairs of one person are few, and move neither the median nor the quartiles by much.
    deviation = float(np.median(np.abs(cosines - middle))) / _HALF_DEVIATIONS
    return middle + _DEVIATIONS * deviation


def together(tracks: Sequence[tuple[Track, T]]) -> Iterator[tuple[tuple[Track, T], ...]]:
    """Pairs of tracks that are seen at the same time and apart, which are two persons."""
    shots: dict[tuple[str, int], list[tuple[Track, T]]] = {}
    for each in tracks:
        shots.setdefault((each[0].footage, each[0].shot), []).append(each)
    for own in shots.values():
        for one, other in itertools.combinations(own, 2):
            shared_s = min(one[0].end_s, other[0].end_s) - max(one[0].start_s, other[0].start_s)
            # A face that was found twice is one person's.
            if shared_s >= _TOGETHER_S and not overlapped(one[0], [other[0]]):
                yield one, other
