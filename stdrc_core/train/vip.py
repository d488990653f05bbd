"""Reads VIP-200K's JSON and finds the user's clips that it describes.

A record is a person. An `id` names a source video, `clip` is the part of it from frame `beg` to
`end`, and frame indices count within that part. A clip's file is `<id>.mp4` (the whole source
video) or `<id>_<beg>_<end>.mp4` (the part).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..text_files import NotTextError, read_json
from .dataset_entry import Entry, KnownFace, Origin, find_videos


def read_vip(path: Path, clips: Path, window_s: float) -> list[Entry]:
    """The entries of a VIP-200K JSON: a record is a person, and each of its segments an entry.

    `clips` is the folder of the videos, `window_s` the length of a training clip in seconds.
    References are the record's own faces: first those of other parts, then those of the same part
    outside the training window. Raises ValueError when the JSON is not as docs/method.md
    section 6 has it, and when `clips` holds no videos.
    """
    files = {video.stem: video for video in find_videos(clips)}
    try:
        records = read_json(path, "data")
        entries = [
            _vip_entry(segment, record["faces"], f"vip-{number}", files, clips, window_s)
            for number, record in enumerate(records)
            for segment in record["segments"]
        ]
    except NotTextError:
        raise
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"data {path} is not VIP-200K's JSON ({type(error).__name__}: {error}); needs a list "
            "of records with faces and segments: use the published file."
        ) from error
    if entries and not files:
        raise ValueError(
            f"clips folder {clips} holds no videos; needs those of {path.name}, named <id>.mp4 or "
            "<id>_<beg>_<end>.mp4: name their folder with --clips."
        )
    return entries


def _vip_entry(
    segment: Mapping[str, Any],
    faces: Iterable[Mapping[str, Any]],
    identity: str,
    files: Mapping[str, Path],
    clips: Path,
    window_s: float,
) -> Entry:
    """The entry of a segment; `files` are the videos by the stem of their names."""
    first, last = int(segment["fidx_beg"]), int(segment["fidx_end"])
    caption = str(segment["caption"]).strip()
    file, start_s = _vip_place(segment, first, files)
    name = f"{segment['id']}_{_first_frame(segment)}"
    entry = Entry(
        id=f"{identity}/{name}/{first}",
        video=file or clips / f"{segment['id']}.mp4",
        caption=caption,
        start_s=start_s,
        end_s=start_s + (last + 1 - first) / _frame_rate(segment),
        identity=identity,
        faces=tuple(_vip_faces(segment, first, faces, files, window_s)),
        footage=str(segment["id"]),
        footage_s=(_first_frame(segment) + first) / _frame_rate(segment) - start_s,
    )
    if file is None:
        return replace(entry, problem=f"{clips} holds no video {name} or {segment['id']}")
    return entry if caption else replace(entry, problem="its caption is empty")


def _vip_faces(
    segment: Mapping[str, Any],
    first: int,
    faces: Iterable[Mapping[str, Any]],
    files: Mapping[str, Path],
    window_s: float,
) -> list[KnownFace]:
    """The person's faces whose video is there, but for those inside the training window."""
    elsewhere, same_part = [], []
    window_start_s = (_first_frame(segment) + first) / _frame_rate(segment)
    for face in faces:
        left, top, right, bottom = (float(side) for side in face["xyxy_norm"])
        file, time_s = _vip_place(face, int(face["fidx"]), files)
        source_s = (_first_frame(face) + int(face["fidx"])) / _frame_rate(face)
        # The window takes the frames nearest in time, which may lie a frame outside of it.
        slack_s = 1 / _frame_rate(face)
        is_inside = (
            face["id"] == segment["id"]
            and -slack_s <= source_s - window_start_s <= window_s + slack_s
        )
        if file is None or is_inside:
            continue
        is_same = (face["id"], face["clip"]) == (segment["id"], segment["clip"])
        known = KnownFace(
            video=file,
            time_s=time_s,
            box=(left, top, right, bottom),
            origin=Origin(str(face["id"]), source_s),
        )
        (same_part if is_same else elsewhere).append(known)
    return elsewhere + same_part


def _vip_place(
    item: Mapping[str, Any], index: int, files: Mapping[str, Path]
) -> tuple[Path | None, float]:
    """The file that holds frame `index` of the item's clip, and the frame's second in that file.

    The file is None where there is none.
    """
    first, last = _first_frame(item), int(item["clip"]["end"]["frame_num"])
    part = files.get(f"{item['id']}_{first}_{last}")
    if part is not None:
        return part, index / _frame_rate(item)
    return files.get(item["id"]), (first + index) / _frame_rate(item)


def _first_frame(item: Mapping[str, Any]) -> int:
    """The number of the clip's first frame in its source video."""
    return int(item["clip"]["beg"]["frame_num"])


def _frame_rate(item: Mapping[str, Any]) -> float:
    """Frames a second of the source video; raises ValueError for a number that is not above 0."""
    rate = float(item["clip"]["beg"]["framerate"])
    if not rate > 0:
        raise ValueError(f"framerate of {item['id']} was {rate}")
    return rate
