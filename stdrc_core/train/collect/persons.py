"""Groups tracks by person, over all of the footage, and keeps the persons' ids.

Tracks are clustered within each video and then over all videos, by average linkage of the cosines
of their mean embeddings. Two tracks that are seen at the same time are never one person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import AgglomerativeClustering
from torch import Tensor

from ...files import write_json
from ...text_files import read_json
from .tracks import Track
from .verification import together

STATE = "persons.json"
# The distance of two who are seen together: more than that of opposite faces, whose cosine is -1.
_APART = 4.0
# How many digits of a mean embedding are kept.
_DIGITS = 4


def cluster(embeddings: Tensor, apart: Iterable[tuple[int, int]], same_person: float) -> list[int]:
    """The number of each embedding's group; `embeddings` is `[n, D]` of length 1.

    `apart` are pairs that are never in one group. Groups are joined while the mean cosine between
    them is `same_person` or more. They are numbered in the order of their first members.
    """
    count = len(embeddings)
    if count < 2:
        return [0] * count
    distances = (1 - embeddings.double() @ embeddings.double().T).clamp(min=0).numpy()
    for one, other in apart:
        distances[one, other] = distances[other, one] = _APART
    np.fill_diagonal(distances, 0)
    labels = AgglomerativeClustering(
        n_clusters=None,
        metric="precomputed",
        linkage="average",
        distance_threshold=1 - same_person,
    ).fit_predict(distances)
    order = {label: place for place, label in enumerate(dict.fromkeys(labels.tolist()))}
    return [order[label] for label in labels.tolist()]


def group_tracks(
    tracks: Sequence[Track], means: Sequence[Tensor], same_person: float
) -> list[list[int]]:
    """The tracks of each person, by number; `means` are the tracks' mean embeddings `[D]`."""
    by_video: dict[str, list[int]] = {}
    for i, track in enumerate(tracks):
        by_video.setdefault(track.footage, []).append(i)
    numbered = [(track, i) for i, track in enumerate(tracks)]
    apart: dict[int, set[int]] = {}
    for (_, one), (_, other) in together(numbered):
        apart.setdefault(one, set()).add(other)
        apart.setdefault(other, set()).add(one)
    groups: list[list[int]] = []
    for own in by_video.values():
        groups += _grouped([[i] for i in own], means, apart, same_person)
    return _grouped(groups, means, apart, same_person)


def _grouped(
    groups: Sequence[list[int]],
    means: Sequence[Tensor],
    apart: Mapping[int, set[int]],
    same_person: float,
) -> list[list[int]]:
    """The groups that are one person, joined."""
    if not groups:
        return []
    place = {i: number for number, group in enumerate(groups) for i in group}
    never = {
        (number, place[other])
        for number, group in enumerate(groups)
        for i in group
        for other in apart.get(i, ())
        if place.get(other, number) != number
    }
    labels = cluster(torch.stack([centre(group, means) for group in groups]), never, same_person)
    joined: list[list[int]] = [[] for _ in range(max(labels) + 1)]
    for label, group in zip(labels, groups, strict=True):
        joined[label] += group
    return [sorted(group) for group in joined]


def centre(group: Sequence[int], means: Sequence[Tensor]) -> Tensor:
    """The mean embedding of a group of tracks, `[D]` of length 1."""
    return F.normalize(torch.stack([means[i] for i in group]).mean(dim=0), dim=0)


class PersonIds:
    """Gives groups of tracks the ids that they had before, or new ones; no id is given twice."""

    def __init__(self, folder: Path) -> None:
        """`folder` is where the state is kept."""
        self._path = folder / STATE
        kept = read_json(self._path) if self._path.is_file() else {}
        self._next: int = kept.get("next", 1)
        self._persons: dict[str, dict] = kept.get("persons", {})

    def name(
        self, groups: Sequence[Sequence[str]], centres: Sequence[Tensor], same_person: float
    ) -> list[str]:
        """The id of each group, told by the keys of its tracks and its mean embedding.

        A group is who most of its tracks were before; else whom its mean is most like, if it is
        like enough.
        """
        names: dict[int, str] = {}
        known = list(self._persons)
        shared = np.array(
            [[len(set(self._persons[p]["tracks"]) & set(group)) for p in known] for group in groups]
        ).reshape(len(groups), len(known))
        _pair(shared, 1, known, names)
        rest = [p for p in known if p not in names.values()]
        alike = np.full((len(groups), len(rest)), -1.0)
        for column, person in enumerate(rest):
            before = F.normalize(torch.tensor(self._persons[person]["mean"]), dim=0)
            for row in range(len(groups)):
                if row not in names and len(before) == len(centres[row]):
                    alike[row, column] = float(before @ centres[row])
        _pair(alike, same_person, rest, names)
        for row in range(len(groups)):
            if row not in names:
                names[row] = f"p{self._next:04d}"
                self._next += 1
        for row, person in names.items():
            mean = [round(x, _DIGITS) for x in centres[row].tolist()]
            self._persons[person] = {"tracks": list(groups[row]), "mean": mean}
        return [names[row] for row in range(len(groups))]

    def save(self) -> None:
        """Keeps the ids. Raises OSError where they cannot be written."""
        write_json(self._path, {"next": self._next, "persons": self._persons})


def _pair(scores: np.ndarray, least: float, persons: Sequence[str], names: dict[int, str]) -> None:
    """Gives rows the persons of their columns where the score is `least` or more, the best first
    over all."""
    if not scores.size:
        return
    for row, column in zip(*linear_sum_assignment(scores, maximize=True), strict=True):
        if row not in names and scores[row, column] >= least:
            names[int(row)] = persons[column]
