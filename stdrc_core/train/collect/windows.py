"""Finds the windows of a video that make a person learnable, and tells what is wrong with others.

A window lasts as long as a training clip. In it exactly N persons are seen all the time, large,
sharp and well lit enough, most of the time not turned away, and they move.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .left_out import LeftOut, Reason, joined
from .options import CollectConfig
from .scan import Scan
from .tracks import Track

# The share of a face's frames that have to be large, sharp and well lit; and not turned away.
_ALWAYS, _MOSTLY = 0.95, 0.8
# By how much of its length a window moves on where it was of no use, and how far it may move to
# begin at a keyframe, so that it can be cut without encoding.
_STEP_SHARE, _SNAP_SHARE = 0.25, 0.5
# Windows of one shot are near-duplicates where the head is turned, tilted, placed and as large as
# in another: within 15 degrees, a quarter of the way from eyes to mouth, half a face's width, and a
# fifth.
_SAME_POSE = np.array([15.0, 0.25, 15.0, 0.5, 0.5, 0.2])


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """A stretch of a shot that becomes a clip."""

    footage: str
    """The key of the video."""
    shot: int
    start_s: float
    end_s: float
    tracks: tuple[Track, ...]
    """The persons, from left to right."""

    @property
    def key(self) -> str:
        """A name for files: the footage's, and when the window begins, in milliseconds."""
        return f"{self.footage}/{round(1000 * self.start_s):08d}"

    def faces(self, track: Track) -> list[int]:
        """The numbers of a track's faces that are in the window."""
        return within(track, self.start_s, self.end_s)


def within(track: Track, start_s: float, end_s: float) -> list[int]:
    """The numbers of a track's faces from `start_s` on and before `end_s`."""
    inside = (track.time_s >= start_s - 1e-6) & (track.time_s < end_s - 1e-6)
    return torch.nonzero(inside)[:, 0].tolist()


def find_windows(
    name: str, key: str, scan: Scan, tracks: Sequence[Track], config: CollectConfig
) -> tuple[list[Window], list[LeftOut]]:
    """The windows of a video in order, and what was left out of it; `name` is for the report."""
    windows: list[Window] = []
    left_out: list[LeftOut] = []
    for number, shot in enumerate(scan.shots):
        own = [track for track in tracks if track.shot == number]

        def note(reason: Reason, start_s: float, end_s: float, detail: str) -> LeftOut:
            return LeftOut(
                reason=reason,
                file=name,
                start_s=round(start_s, 3),
                end_s=round(end_s, 3),
                detail=detail,
            )

        # The last frame of training is the footage's nearest one, and that is still the shot's.
        least_s = (config.num_frames - 1) / config.fps + 0.5 / scan.fps
        if shot.end_s - shot.start_s < least_s:
            lasts = f"the shot lasts {shot.end_s - shot.start_s:.2f} s; needs {least_s:.2f} s"
            left_out.append(note(Reason.SHOT_TOO_SHORT, shot.start_s, shot.end_s, lasts))
            continue
        kept: list[Window] = []
        notes: list[LeftOut] = []
        for start_s, end_s, present in _stretches(shot.start_s, shot.end_s, own):
            if len(present) != config.num_persons:
                seen = f"{len(present)} persons are seen; needs {config.num_persons}"
                notes.append(note(Reason.OTHER_COUNT, start_s, end_s, seen))
                continue
            if end_s - start_s < least_s:
                seen = (
                    f"{config.num_persons} persons are seen for {end_s - start_s:.2f} s; needs "
                    f"{least_s:.2f} s"
                )
                notes.append(note(Reason.OTHER_COUNT, start_s, end_s, seen))
                continue
            at_s = start_s
            while at_s + least_s <= end_s + 1e-6:
                begin_s = _snapped(at_s, end_s - least_s, scan.keyframes_s, config.window_s)
                window = Window(
                    footage=key,
                    shot=number,
                    start_s=begin_s,
                    end_s=min(begin_s + config.window_s, end_s),
                    tracks=_from_left(present, begin_s, begin_s + config.window_s),
                )
                problem = _problem(window, kept, config)
                if problem is None:
                    kept.append(window)
                    at_s = begin_s + config.window_s
                    continue
                share = 1 if problem[0] is Reason.DUPLICATE else _STEP_SHARE
                stop_s = min(at_s + share * config.window_s, end_s)
                notes.append(note(problem[0], at_s, stop_s, problem[1]))
                at_s = stop_s
        windows += kept
        left_out += joined(notes)
    return windows, left_out


def _stretches(
    start_s: float, end_s: float, tracks: Sequence[Track]
) -> Iterator[tuple[float, float, list[Track]]]:
    """The parts of a shot in which the same persons are seen: from when to when, and whom."""
    edges = {start_s, end_s}
    for track in tracks:
        edges |= {max(start_s, track.start_s), min(end_s, track.end_s)}
    for low, high in itertools.pairwise(sorted(edges)):
        if high - low > 1e-6:
            middle = (low + high) / 2
            yield low, high, [each for each in tracks if each.start_s <= middle < each.end_s]


def _snapped(at_s: float, latest_s: float, keyframes_s: Sequence[float], window_s: float) -> float:
    """The first keyframe soon after `at_s`; `at_s` where there is none or the window ends late."""
    place = int(np.searchsorted(keyframes_s, at_s - 1e-6))
    if place < len(keyframes_s):
        keyframe_s = keyframes_s[place]
        if keyframe_s <= min(latest_s + 1e-6, at_s + _SNAP_SHARE * window_s):
            return keyframe_s
    return at_s


def _from_left(present: Sequence[Track], start_s: float, end_s: float) -> tuple[Track, ...]:
    def middle(track: Track) -> float:
        boxes = track.box[within(track, start_s, end_s) or [0]]
        return float(boxes[:, [0, 2]].mean())

    return tuple(sorted(present, key=middle))


def _problem(
    window: Window, kept: Sequence[Window], config: CollectConfig
) -> tuple[Reason, str] | None:
    """The first thing that is wrong with a window; None for one of use."""
    for track in window.tracks:
        faces = window.faces(track)
        looks = [track.looks[i] for i in faces]
        if not faces:
            return Reason.OTHER_COUNT, "no face was seen in the frames that were searched"
        small = float(torch.quantile(track.face_px[faces], 1 - _ALWAYS))
        if small < config.min_face_px:
            return (
                Reason.FACE_TOO_SMALL,
                f"the face is {small:.0f} pixels; needs {config.min_face_px}",
            )
        sharp = float(np.quantile([each.sharpness for each in looks], 1 - _ALWAYS))
        if sharp < config.min_sharpness:
            return (
                Reason.BLURRED,
                f"the face's sharpness is {sharp:.2f}; needs {config.min_sharpness}",
            )
        worst = [max(each.burnt, each.dark) for each in looks]
        share = float(np.quantile(worst, _ALWAYS))
        if share > config.max_burnt:
            return (
                Reason.EXPOSURE,
                f"{share:.0%} of the face is burnt out or dark; at most {config.max_burnt:.0%}",
            )
        yaw = float(np.quantile([abs(each.yaw_deg) for each in looks], _MOSTLY))
        if yaw > config.max_yaw_deg:
            return (
                Reason.TURNED_AWAY,
                f"the face is turned by {yaw:.0f} degrees; at most {config.max_yaw_deg:g}",
            )
    moved = max(motion(track, window.faces(track)) for track in window.tracks)
    if moved < config.min_motion:
        return (
            Reason.STILL,
            f"the face moves by {moved:.3f} of its width; needs {config.min_motion}",
        )
    own = _poses(window)
    for other in kept:
        if other.tracks == window.tracks and (abs(own - _poses(other)) < _SAME_POSE).all():
            return Reason.DUPLICATE, f"the pose is that of the window at {other.start_s:.2f} s"
    return None


def motion(track: Track, faces: Sequence[int]) -> float:
    """How far landmarks are from their mean place, the mean over all of them, in face widths.

    A detector's jitter is part of it; that of faces which stand still is below the default of
    `CollectConfig.min_motion`.
    """
    points, boxes = track.landmarks[list(faces)], track.box[list(faces)]
    width = float((boxes[:, 2] - boxes[:, 0]).mean()) or 1.0
    return float((points - points.mean(dim=0)).norm(dim=-1).mean()) / width


def _poses(window: Window) -> np.ndarray:
    """Yaw, pitch, roll, place and size of each person, `[P, 6]`, the means over the window."""
    return np.stack([_pose(track, window.faces(track)) for track in window.tracks])


def _pose(track: Track, faces: Sequence[int]) -> np.ndarray:
    looks = [track.looks[i] for i in faces]
    boxes: Tensor = track.box[list(faces)].mean(dim=0)
    width = max(1.0, float(boxes[2] - boxes[0]))
    return np.array(
        [
            np.mean([each.yaw_deg for each in looks]),
            np.mean([each.pitch for each in looks]),
            np.mean([each.roll_deg for each in looks]),
            float(boxes[0] + boxes[2]) / 2 / width,
            float(boxes[1] + boxes[3]) / 2 / width,
            np.log(width),
        ]
    )
