"""Scans a video: one pass that decodes each frame once, and tells its shots and its faces."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...faces.finder import FaceFinder
from ...video import TimedFrame, timed_frames
from ..ahead import ahead
from .face_looks import Looks
from .letterbox import crop_of
from .search import FaceSearch, Seen
from .shots import Shot, ShotFinder

# Decoded frames wait in chunks of about so many pixels, which take 1.5 bytes each.
_CHUNK_PX = 60_000_000
# Frames whose times are no farther apart are one; the first counts.
_TWIN_S = 0.5
_LOOKS = [field.name for field in fields(Looks) if field.type == "float"]
_COLORS = ("light", "clothes")


class StoppedError(Exception):
    """The user asked for an end in the middle of a file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """What is known of a video after it was scanned."""

    fps: float
    height: int
    """Of an upright frame, in pixels, as `width`."""
    width: int
    duration_s: float
    """Until when the last frame is shown."""
    codec: str
    shots: tuple[Shot, ...]
    keyframes_s: tuple[float, ...]
    """When the frames are shown that a stream can be cut at."""
    looked_s: Tensor
    """The times of the frames that were searched, `[M]` float64 seconds, rising."""
    time_s: Tensor
    """The time of each face, `[N]` float64 seconds, rising."""
    box: Tensor
    """`[N, 4]` float32 left, top, right and bottom in pixels."""
    landmarks: Tensor
    """`[N, 5, 2]` float32 (x, y) in pixels."""
    embedding: Tensor
    """`[N, D]` float16 of length 1."""
    looks: Tensor
    """`[N, 12]` float32: the numbers of each face's `Looks`, in their order."""
    damage: str = ""
    """Why the video could not be read any farther than `duration_s`; empty where it ends there."""

    def without_faces(self) -> Scan:
        """The scan's facts alone, which take little memory."""
        none = torch.zeros(0, dtype=torch.float64)
        return replace(self, **dict.fromkeys(TENSOR_NAMES, none))

    def face_looks(self, index: int) -> Looks:
        """How face `index` looks."""
        return _looks(self.looks[index].tolist())


TENSOR_NAMES = tuple(field.name for field in fields(Scan) if field.type == "Tensor")


def scan(
    path: Path,
    finder: FaceFinder,
    *,
    shot_threshold: float,
    sample_fps: float,
    moved_to: Callable[[float], None],
) -> Scan:
    """Scans a video; `moved_to` is told the second that is reached, and may raise `StoppedError`.

    A video that is damaged in the middle is scanned up to there. Raises ValueError where not even
    its beginning can be read, or where it has no video.
    """
    shots, search = ShotFinder(shot_threshold), FaceSearch(finder, sample_fps)
    seen: list[Seen] = []
    keyframes: list[float] = []
    facts: dict[str, Any] = {}
    last_s, damage = 0.0, ""

    def chunks() -> Iterator[list[TimedFrame]]:
        nonlocal damage
        chunk: list[TimedFrame] = []
        before_s = -math.inf
        try:
            for frame in timed_frames(path):
                if frame.time_s <= before_s:
                    damage = _check_time(path, frame.time_s, before_s)
                    if damage:
                        break
                    continue
                before_s = frame.time_s
                shots.add(frame.time_s, frame.frame)
                chunk.append(frame)
                if len(chunk) * frame.frame.width * frame.frame.height >= _CHUNK_PX:
                    yield chunk
                    chunk = []
        except ValueError as error:
            if before_s <= 0:
                raise
            damage = str(error)
        yield chunk

    frames = chunks()
    # Frames are decoded in a thread of its own, while faces are found here.
    with closing(ahead(lambda _: next(frames, None), itertools.count(), 1, "decode")) as decoded:
        for chunk in decoded:
            if chunk is None:
                break
            for frame in chunk:
                facts = facts or _facts(frame)
                if frame.frame.key_frame:
                    keyframes.append(frame.time_s)
                seen += search.add(frame)
                last_s = frame.time_s
            moved_to(last_s)
    if not facts:
        raise ValueError(f"clip {path} has no frames; needs a sound video file: export it again.")
    seen += search.finish()
    frame_s = 1 / facts["fps"]
    found = _cropped(shots.shots(frame_s), seen, (facts["height"], facts["width"]))
    return Scan(
        **facts,
        duration_s=last_s + frame_s,
        shots=tuple(found),
        keyframes_s=tuple(keyframes),
        damage=damage,
        **_tensors(seen),
    )


def _check_time(path: Path, time_s: float, before_s: float) -> str:
    """What is wrong with a frame that is not later than the one before; empty for a mere twin."""
    if time_s > before_s - _TWIN_S:
        return ""
    return (
        f"clip {path} goes back from {before_s:.2f} s to {time_s:.2f} s; needs times that rise: "
        "save it anew, as MP4 or MKV."
    )


def _facts(frame: TimedFrame) -> dict[str, Any]:
    upright = frame.upright()
    return {
        "fps": frame.fps,
        "height": upright.shape[0],
        "width": upright.shape[1],
        "codec": frame.codec,
    }


def _cropped(shots: list[Shot], seen: list[Seen], size: tuple[int, int]) -> Iterator[Shot]:
    """The shots with their picture inside the letterbox bars."""
    for shot in shots:
        own = [each.bars for each in seen if shot.start_s <= each.time_s < shot.end_s]
        yield replace(shot, crop=crop_of(own, size))


def _tensors(seen: list[Seen]) -> dict[str, Tensor]:
    found = [(each.time_s, face, looks) for each in seen for face, looks in each.faces]
    embeddings = [face.embedding for _, face, _ in found]
    return {
        "looked_s": torch.tensor([each.time_s for each in seen], dtype=torch.float64),
        "time_s": torch.tensor([time_s for time_s, _, _ in found], dtype=torch.float64),
        "box": _stacked([face.face.box for _, face, _ in found], (4,)),
        "landmarks": _stacked([face.face.landmarks for _, face, _ in found], (5, 2)),
        "embedding": _stacked(embeddings, (1,)).half(),
        "looks": torch.tensor([_numbers(looks) for _, _, looks in found]).view(len(found), -1),
    }


def _stacked(rows: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    return torch.stack(rows).float() if rows else torch.zeros(0, *shape)


def _numbers(looks: Looks) -> list[float]:
    colors = [level for name in _COLORS for level in getattr(looks, name)]
    return [*(getattr(looks, name) for name in _LOOKS), *colors]


def _looks(numbers: list[float]) -> Looks:
    count = len(_LOOKS)
    values: dict[str, Any] = dict(zip(_LOOKS, numbers, strict=False))
    light, clothes = numbers[count : count + 3], numbers[count + 3 :]
    return Looks(**values, light=tuple(light), clothes=tuple(clothes))
