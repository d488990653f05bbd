"""Tracks and scans of faces that nobody filmed, for the parts of `collect`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from stdrc_core.train.collect.face_looks import Looks
from stdrc_core.train.collect.scan import Scan
from stdrc_core.train.collect.shots import Shot
from stdrc_core.train.collect.tracks import Track

NEUTRAL = Looks(
    yaw_deg=0,
    pitch=0,
    roll_deg=0,
    sharpness=0.7,
    burnt=0,
    dark=0,
    light=(128.0, 128.0, 128.0),
    clothes=(128.0, 128.0, 128.0),
)


def unit(angle_deg: float, dim: int = 4) -> torch.Tensor:
    angle = math.radians(angle_deg)
    return F.pad(torch.tensor([math.cos(angle), math.sin(angle)]), (0, dim - 2))


def make_track(
    key: str,
    embedding: torch.Tensor,
    *,
    shot: int = 0,
    start_s: float = 0.0,
    looks: Looks = NEUTRAL,
    count: int = 8,
    left: float = 20.0,
    side: float = 120.0,
    moves: float = 4.0,
) -> Track:
    """A face that moves to the right in `count` frames, four a second."""
    shift = torch.arange(count)[:, None] * moves
    box = torch.tensor([left, 20.0, left + side, 20 + side]) + shift * torch.tensor([1.0, 0, 1, 0])
    points = (torch.rand(5, 2, generator=torch.Generator().manual_seed(0)) * side)[None]
    return Track(
        key=key,
        shot=shot,
        start_s=start_s,
        end_s=start_s + count / 4,
        time_s=start_s + torch.arange(count, dtype=torch.float64) / 4,
        box=box,
        landmarks=points + shift[:, None] * torch.tensor([1.0, 0.0]),
        embedding=embedding.expand(count, -1),
        looks=(looks,) * count,
    )


def make_scan(tracks: list[Track], shots: list[Shot], **changes) -> Scan:
    """What a scan of the tracks would hold, for `find_tracks` and `find_windows`."""
    rows = sorted(
        (float(time_s), number, i)
        for number, track in enumerate(tracks)
        for i, time_s in enumerate(track.time_s)
    )
    numbers = [
        [*list(NEUTRAL.__dict__.values())[:6], *NEUTRAL.light, *NEUTRAL.clothes] for _ in rows
    ]
    facts = {
        "fps": 25.0,
        "height": 400,
        "width": 800,
        "duration_s": shots[-1].end_s,
        "codec": "h264",
        "shots": tuple(shots),
        "keyframes_s": (0.0,),
        "looked_s": torch.arange(0, shots[-1].end_s, 0.25, dtype=torch.float64),
        "time_s": torch.tensor([row[0] for row in rows], dtype=torch.float64),
        "box": torch.stack([tracks[n].box[i] for _, n, i in rows]),
        "landmarks": torch.stack([tracks[n].landmarks[i] for _, n, i in rows]),
        "embedding": torch.stack([tracks[n].embedding[i] for _, n, i in rows]).half(),
        "looks": torch.tensor(numbers),
    }
    return Scan(**(facts | changes))
