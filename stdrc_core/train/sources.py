"""What a dataset offers: one `Entry` for each training clip, from any of three kinds of input.

* a folder: `clip.mp4` with its caption in `clip.txt`, and where there is one its photo in
  `clip.ref.png` (or jpg, webp) or `refs/clip.png`;
* a JSON-lines manifest: `{"video", "caption", "reference"?, "identity"?, "start_s"?}`, paths from
  the manifest's folder;
* VIP-200K's JSON beside the user's clips. An `id` there is a source video, frame indices count
  within `clip`, the part of it from frame `beg` to `end`. A clip file is `<id>.mp4` (the whole
  source video) or `<id>_<beg>_<end>.mp4` (the part).

Nothing is decoded here. What an entry lacks is told in `problem`; it is reported, not raised.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, kw_only=True)
class KnownFace:
    """A face that the dataset points at, outside the training window of its entry."""

    video: Path
    time_s: float
    box: tuple[float, float, float, float]
    """Left, top, right, bottom as shares of the frame's sides."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One training clip: `window_s` seconds of `video` from `start_s` on."""

    id: str
    video: Path
    caption: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    """Where the caption stops being true; None is the file's end."""
    identity: str | None = None
    reference: Path | None = None
    faces: tuple[KnownFace, ...] = ()
    footage: str | None = None
    """The source video that `video` is a part of, where the dataset tells; else `video` itself."""
    footage_s: float = 0.0
    """When in its footage `video` begins."""
    problem: str | None = None
    """Why it cannot be used, where that is known before decoding."""


def read_sources(path: str | Path, *, window_s: float, clips: Path | None = None) -> list[Entry]:
    """The entries of a folder, a `.jsonl` manifest or a VIP-200K `.json`, in a stable order.

    `window_s` is the length of a training clip; `clips` is where VIP-200K's clips are, by default
    the folder of the JSON. Ids are unique. Raises ValueError when the input is none of the three or
    offers no clip at all.
    """
    path = Path(path)
    if path.is_dir():
        entries = read_folder(path)
    elif path.suffix == ".jsonl" and path.is_file():
        entries = read_manifest_lines(path)
    elif path.suffix == ".json" and path.is_file():
        entries = read_vip(path, clips or path.parent, window_s)
    else:
        raise ValueError(
            f"data {path} is no folder, .jsonl manifest or VIP-200K .json; needs one of them: "
            "check the path."
        )
    if not entries:
        raise ValueError(
            f"data {path} offers no clips; needs videos ({', '.join(VIDEO_SUFFIXES)}) with "
            "captions: check the path."
        )
    return _with_unique_ids(entries)


def read_folder(folder: Path) -> list[Entry]:
    """Videos of the folder and its subfolders; a subfolder of `refs` holds photos only."""
    videos = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    return [
        _captioned(
            Entry(
                id=video.relative_to(folder).as_posix(),
                video=video,
                reference=_photo_beside(video),
            )
        )
        for video in videos
    ]


def read_manifest_lines(path: Path) -> list[Entry]:
    """One entry a line; a line that is not as described becomes an entry with a problem."""
    lines = path.read_text(encoding="utf-8").split("\n")
    numbered = ((number, text) for number, text in enumerate(lines, 1) if text.strip())
    return [_manifest_entry(path, number, text) for number, text in numbered]


def read_vip(path: Path, clips: Path, window_s: float) -> list[Entry]:
    """VIP-200K: a record is a person, each of its segments an entry.

    References are the record's own faces: first those of other parts, then those of the same part
    outside the training window. Raises ValueError when the JSON is not as SPEC section 6 has it.
    """
    files = {p.stem: p for p in sorted(clips.rglob("*")) if p.suffix.lower() in VIDEO_SUFFIXES}
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        return [
            _vip_entry(segment, record["faces"], f"vip-{number}", files, clips, window_s)
            for number, record in enumerate(records)
            for segment in record["segments"]
        ]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"data {path} is not VIP-200K's JSON ({type(error).__name__}: {error}); needs a list "
            "of records with faces and segments: use the published file."
        ) from error


def _captioned(entry: Entry) -> Entry:
    path = entry.video.with_suffix(".txt")
    if not path.is_file():
        return replace(entry, problem=f"caption {path} is missing")
    try:
        caption = path.read_bytes().decode(errors="replace").strip()
    except OSError as error:
        return replace(entry, problem=f"caption {path} could not be read ({error})")
    return replace(entry, caption=caption, problem=None if caption else f"caption {path} is empty")


def _photo_beside(video: Path) -> Path | None:
    names = [video.with_name(f"{video.stem}.ref{suffix}") for suffix in PHOTO_SUFFIXES]
    names += [video.parent / "refs" / f"{video.stem}{suffix}" for suffix in PHOTO_SUFFIXES]
    return next((path for path in names if path.is_file()), None)


def _manifest_entry(path: Path, number: int, text: str) -> Entry:
    unusable = Entry(id=f"{path.name}:{number}", video=path)
    try:
        line = json.loads(text)
    except json.JSONDecodeError as error:
        return replace(unusable, problem=f"line {number} of {path} is not JSON ({error})")
    kinds = {"video": str, "caption": str, "reference": str, "identity": str | int}
    kinds["start_s"] = int | float
    if not isinstance(line, dict) or not {"video", "caption"} <= line.keys():
        return replace(unusable, problem=f"line {number} of {path} lacks video or caption")
    # An optional key may be null; a required one may not.
    required = ("video", "caption")
    given = {k: line[k] for k in kinds if k in required or line.get(k) is not None}
    for key, value in given.items():
        if not isinstance(value, kinds[key]):
            return replace(unusable, problem=f"line {number} of {path} has {key} {value!r}")
    start_s = float(given.get("start_s", 0))
    if not 0 <= start_s < math.inf or not given["caption"].strip():
        problem = f"line {number} of {path} has an empty caption or a start that is not 0 or more"
        return replace(unusable, problem=problem)
    return Entry(
        id=f"{given['video']}@{start_s:g}",
        video=path.parent / given["video"],
        caption=given["caption"].strip(),
        start_s=start_s,
        identity=str(given["identity"]) if "identity" in given else None,
        reference=path.parent / given["reference"] if "reference" in given else None,
    )


def _vip_entry(
    segment: Mapping[str, Any],
    faces: Iterable[Mapping[str, Any]],
    identity: str,
    files: Mapping[str, Path],
    clips: Path,
    window_s: float,
) -> Entry:
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
    """The faces whose video is there, none of them inside the segment's training window."""
    elsewhere, same_part = [], []
    window_start_s = (_first_frame(segment) + first) / _frame_rate(segment)
    for face in faces:
        left, top, right, bottom = (float(side) for side in face["xyxy_norm"])
        file, time_s = _vip_place(face, int(face["fidx"]), files)
        source_s = (_first_frame(face) + int(face["fidx"])) / _frame_rate(face)
        # A frame's length of slack on both sides: the window's frames are the nearest ones.
        slack_s = 1 / _frame_rate(face)
        is_inside = (
            face["id"] == segment["id"]
            and -slack_s <= source_s - window_start_s <= window_s + slack_s
        )
        if file is None or is_inside:
            continue
        is_same = (face["id"], face["clip"]) == (segment["id"], segment["clip"])
        known = KnownFace(video=file, time_s=time_s, box=(left, top, right, bottom))
        (same_part if is_same else elsewhere).append(known)
    return elsewhere + same_part


def _vip_place(
    item: Mapping[str, Any], index: int, files: Mapping[str, Path]
) -> tuple[Path | None, float]:
    """The file that holds frame `index` of the item's clip, and its time in that file."""
    first, last = _first_frame(item), int(item["clip"]["end"]["frame_num"])
    part = files.get(f"{item['id']}_{first}_{last}")
    if part is not None:
        return part, index / _frame_rate(item)
    return files.get(item["id"]), (first + index) / _frame_rate(item)


def _first_frame(item: Mapping[str, Any]) -> int:
    return int(item["clip"]["beg"]["frame_num"])


def _frame_rate(item: Mapping[str, Any]) -> float:
    rate = float(item["clip"]["beg"]["framerate"])
    if not rate > 0:
        raise ValueError(f"framerate of {item['id']} was {rate}")
    return rate


def _with_unique_ids(entries: list[Entry]) -> list[Entry]:
    """The second entry of one id becomes `id#2`, and so on."""
    seen: Counter[str] = Counter()
    unique = []
    for entry in entries:
        seen[entry.id] += 1
        count = seen[entry.id]
        unique.append(entry if count == 1 else replace(entry, id=f"{entry.id}#{count}"))
    return unique
