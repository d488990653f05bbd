"""Follows faces from frame to frame: a track is one person in one shot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .face_looks import Looks
from .overlap import iou, ious
from .scan import Scan
from .shots import Shot

# For how long a face may be missed, as by a hand before it, and still be the same track's.
MAX_GAP_S = 0.5
# A face goes on with a track that it overlaps, unless it is plainly somebody else; and with one
# that it does not overlap if it is plainly the same person.
_OVERLAPS, _NOT_ANOTHER, _PLAINLY_SAME = 0.25, 0.25, 0.6
# What is found in fewer frames, or for a shorter time, is no face.
_LEAST_FACES, _LEAST_S = 3, 0.2
# Two faces of a frame that overlap by more may be one that was found twice, or hide each other.
_MOST_SHARED = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """One person's face in a shot."""

    key: str
    """The footage's key, and the track's number in it."""
    shot: int
    """The number of the shot in its video."""
    start_s: float
    end_s: float
    """From the first to the last frame with the face, in seconds of the video."""
    time_s: Tensor
    """When the face was seen, `[n]` float64 seconds."""
    box: Tensor
    """`[n, 4]` float32 pixels of the upright frame."""
    landmarks: Tensor
    """`[n, 5, 2]` float32 pixels."""
    embedding: Tensor
    """`[n, D]` float32 of length 1."""
    looks: tuple[Looks, ...]

    @property
    def footage(self) -> str:
        """The key of the video."""
        return self.key.rpartition("#")[0]

    @property
    def face_px(self) -> Tensor:
        """The smaller side of each box, `[n]` pixels."""
        return (self.box[:, 2:] - self.box[:, :2]).amin(dim=1)


@dataclass(eq=False)
class _Open:
    """A track that may go on."""

    indices: list[int] = field(default_factory=list)
    mean: Tensor | None = None

    def add(self, index: int, embedding: Tensor) -> None:
        self.indices.append(index)
        # The newest faces count most, since a head turns on.
        mixed = embedding if self.mean is None else 0.7 * self.mean + 0.3 * embedding
        self.mean = F.normalize(mixed, dim=0)


def find_tracks(key: str, scan: Scan) -> list[Track]:
    """The tracks of a video in the order of their beginnings; none goes over a cut."""
    found: list[Track] = []
    embeddings = F.normalize(scan.embedding.float(), dim=-1)
    for number, shot in enumerate(scan.shots):
        low, high = _range(scan.time_s, shot)
        chains = _follow(scan, embeddings, range(low, high))
        chains.sort(key=lambda chain: chain[0])
        for chain in chains:
            times = scan.time_s[chain]
            start_s, last_s = float(times[0]), float(times[-1])
            end_s = min(last_s + 1 / scan.fps, shot.end_s)
            # Where all around was searched, the sample before shows that nobody was there.
            is_brief = len(chain) < _LEAST_FACES or end_s - start_s < _LEAST_S
            if is_brief:
                continue
            start_s, end_s = _to_edges(scan, shot, start_s, end_s)
            found.append(
                Track(
                    key=f"{key}#{len(found)}",
                    shot=number,
                    start_s=start_s,
                    end_s=end_s,
                    time_s=times,
                    box=scan.box[chain],
                    landmarks=scan.landmarks[chain],
                    embedding=embeddings[chain],
                    looks=tuple(scan.face_looks(i) for i in chain),
                )
            )
    return found


def _range(times: Tensor, shot: Shot) -> tuple[int, int]:
    edges = torch.tensor([shot.start_s - 1e-6, shot.end_s - 1e-6], dtype=times.dtype)
    low, high = torch.searchsorted(times, edges).tolist()
    return low, high


def _to_edges(scan: Scan, shot: Shot, start_s: float, end_s: float) -> tuple[float, float]:
    """The track reaches to the shot's edge where no frame in between was looked at."""
    looked = scan.looked_s
    before = looked[(looked >= shot.start_s - 1e-6) & (looked < start_s - 1e-6)]
    after = looked[(looked >= end_s - 1e-6) & (looked < shot.end_s - 1e-6)]
    return (
        start_s if len(before) else shot.start_s,
        end_s if len(after) else shot.end_s,
    )


def _follow(scan: Scan, embeddings: Tensor, faces: range) -> list[list[int]]:
    """The numbers of the faces of each track, by the best pairing of tracks and faces."""
    open_tracks: list[_Open] = []
    closed: list[list[int]] = []
    for here in _frames(scan.time_s, faces):
        now_s = float(scan.time_s[here[0]])
        for track in open_tracks:
            if now_s - float(scan.time_s[track.indices[-1]]) > MAX_GAP_S:
                closed.append(track.indices)
        open_tracks = [
            track
            for track in open_tracks
            if now_s - float(scan.time_s[track.indices[-1]]) <= MAX_GAP_S
        ]
        free = set(here)
        if open_tracks:
            scores = np.array(
                [[_score(track, i, scan, embeddings) for i in here] for track in open_tracks]
            )
            for row, column in zip(*linear_sum_assignment(scores, maximize=True), strict=True):
                if scores[row, column] > 0:
                    open_tracks[row].add(here[column], embeddings[here[column]])
                    free.discard(here[column])
        for index in sorted(free):
            track = _Open()
            track.add(index, embeddings[index])
            open_tracks.append(track)
    return closed + [track.indices for track in open_tracks]


def _frames(times: Tensor, faces: range) -> Iterator[list[int]]:
    """The numbers of the faces of each frame in turn."""
    here: list[int] = []
    for index in faces:
        if here and times[index] > times[here[0]] + 1e-6:
            yield here
            here = []
        here.append(index)
    if here:
        yield here


def _score(track: _Open, index: int, scan: Scan, embeddings: Tensor) -> float:
    """How well a face goes on with a track; 0 where it does not."""
    overlap = iou(scan.box[track.indices[-1]], scan.box[index])
    cosine = float(track.mean @ embeddings[index])
    goes_on = (overlap >= _OVERLAPS and cosine >= _NOT_ANOTHER) or cosine >= _PLAINLY_SAME
    return 1 + overlap + cosine if goes_on else 0.0


def overlapped(track: Track, others: Iterable[Track]) -> set[int]:
    """The numbers of a track's faces that a face of another track overlaps in the same frame."""
    found: set[int] = set()
    for other in others:
        _, own, its = np.intersect1d(
            track.time_s, other.time_s, assume_unique=True, return_indices=True
        )
        shared = ious(track.box[own], other.box[its]) > _MOST_SHARED
        found.update(own[shared.numpy()].tolist())
    return found


def mean_embedding(track: Track, faces: Sequence[int]) -> Tensor:
    """The mean embedding of some of a track's faces, `[D]` of length 1."""
    return F.normalize(track.embedding[list(faces)].mean(dim=0), dim=0)
