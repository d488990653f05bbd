"""Chooses which faces teach a clip's identity: the same person in other shots, looking unlike.

What a reference has in common with its clip besides the person, the model learns to copy. So of the
faces that are the person's beyond doubt those are taken that differ most in pose, light and
clothes. The user's own photos come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .face_looks import Looks
from .options import CollectConfig
from .tracks import Track, overlapped
from .windows import Window

# At most so many faces of a track, and so many of a person, are offered.
_PER_TRACK, _PER_PERSON = 6, 3000
# By so much two faces count as wholly unlike in one respect: in degrees or shares for the pose, in
# levels for the light and the clothes. Beyond it there is nothing to gain, so that all three count.
_POSE_SCALES = (30.0, 0.3, 25.0)
_LIGHT_SCALE, _CLOTHES_SCALE = 60.0, 80.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A face that may be a reference: one of the footage's, or a photo of the user's."""

    embedding: Tensor
    """`[D]` of length 1."""
    looks: Looks | None = None
    footage: str = ""
    """The key of the video, as `shot` and the rest empty for a photo."""
    shot: int = -1
    time_s: float = 0.0
    box: tuple[float, ...] = ()
    photo: Path | None = None


def good_faces(track: Track, beside: Iterable[Track], config: CollectConfig) -> list[int]:
    """The numbers of a track's faces that are as good as those of a clip have to be.

    A face that another one overlaps is not: `beside` are the other tracks of the shot.
    """
    large, shared = track.face_px >= config.min_face_px, overlapped(track, beside)
    return [
        i
        for i, looks in enumerate(track.looks)
        if bool(large[i])
        and i not in shared
        and looks.sharpness >= config.min_sharpness
        and max(looks.burnt, looks.dark) <= config.max_burnt
        and abs(looks.yaw_deg) <= config.max_yaw_deg
    ]


def candidates_of(track: Track, good: Sequence[int]) -> list[Candidate]:
    """Some of the good faces of a track, spread evenly over it."""
    places = np.linspace(0, len(good) - 1, min(_PER_TRACK, len(good))).round().astype(int)
    return [
        Candidate(
            embedding=track.embedding[i],
            looks=track.looks[i],
            footage=track.footage,
            shot=track.shot,
            time_s=float(track.time_s[i]),
            box=tuple(track.box[i].tolist()),
        )
        for i in (good[place] for place in sorted(set(places.tolist())))
    ]


class Gallery:
    """All faces of one person that may be references."""

    def __init__(self, faces: Sequence[Candidate], photos: Sequence[Candidate] = ()) -> None:
        step = max(1, -(-len(faces) // _PER_PERSON))
        self.faces, self.photos = list(faces)[::step], list(photos)
        self._embeddings = _stacked([face.embedding for face in self.faces])
        self._respects = np.array([_respects(face.looks) for face in self.faces])
        self._shots = [(face.footage, face.shot) for face in self.faces]

    def choose(self, window: Window, track: Track, bound: float, count: int) -> list[Candidate]:
        """At most `count` references for a track of a window, the most telling ones first.

        None is from the window's own shot, and the cosine of each with the window's face is `bound`
        or more. Photos come first; they are not measured for likeness of pose or light.
        """
        seen = window.faces(track)
        mean = torch.nn.functional.normalize(track.embedding[seen].mean(dim=0), dim=0)
        alike = [float(photo.embedding @ mean) for photo in self.photos]
        order = sorted(range(len(alike)), key=lambda i: -alike[i])
        chosen = [self.photos[i] for i in order if alike[i] >= bound][:count]
        if not self.faces or len(chosen) == count:
            return chosen
        own = np.mean([_respects(track.looks[i]) for i in seen], axis=0)
        cosines = (self._embeddings @ mean).numpy()
        other_shot = np.array([shot != (window.footage, window.shot) for shot in self._shots])
        allowed = other_shot & (cosines >= bound)
        # The second reference differs from the clip and from the first, and so on.
        unlike = _unlike(self._respects, own)
        while len(chosen) < count and allowed.any():
            best = int(np.where(allowed, unlike, -1).argmax())
            chosen.append(self.faces[best])
            allowed &= np.array([shot != self._shots[best] for shot in self._shots])
            unlike = np.minimum(unlike, _unlike(self._respects, self._respects[best]))
        return chosen


def _respects(looks: Looks) -> np.ndarray:
    """Pose, light and clothes in units of their scales, `[9]`."""
    pose = np.array([looks.yaw_deg, looks.pitch, looks.roll_deg]) / _POSE_SCALES
    return np.concatenate(
        [pose, np.array(looks.light) / _LIGHT_SCALE, np.array(looks.clothes) / _CLOTHES_SCALE]
    )


def _unlike(faces: np.ndarray, one: np.ndarray) -> np.ndarray:
    """How unlike each of `[n, 9]` is to one `[9]`: 0 for the same, 3 for wholly unlike."""
    apart = (faces - one).reshape(len(faces), 3, 3)
    return np.minimum(1, np.linalg.norm(apart, axis=2)).sum(axis=1)


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(rows)).float() if rows else torch.zeros(0, 1)
