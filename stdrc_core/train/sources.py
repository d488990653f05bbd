"""Reads a dataset of one of three kinds: one `Entry` for each training clip.

* A folder has `clip.mp4` with its caption in `clip.txt`, and may have its photo in `clip.ref.png`
  or `refs/clip.png` (see `folder_source`).
* A JSON-lines manifest has lines of `video` and `caption`, and of `reference`, `references`,
  `identity` and `start_s` where they are known. Paths begin at the manifest's folder.
* VIP-200K's JSON describes the user's clips (see `vip`).

Nothing is decoded here. What is wrong with an entry stands in its `problem`, for the report.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..folders import path_in
from ..shown_text import whole
from ..text_files import NotTextError, check_whole, decode_line, read_raw_lines, trimmed
from .dataset_entry import VIDEO_SUFFIXES, Entry, Origin, Reason, Stretch
from .dataset_exclusions import read_exclusions
from .folder_source import read_folder
from .vip import read_vip


def read_sources(path: str | Path, *, window_s: float, clips: Path | None = None) -> list[Entry]:
    """The entries of a folder, a `.jsonl` manifest or a VIP-200K `.json`, in a stable order.

    `window_s` is the length of a training clip in seconds. `clips` is the folder of VIP-200K's
    clips, by default that of the JSON. Ids are unique. Raises ValueError when the input is none of
    the three, cannot be read, or describes no clip at all.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if clips is not None and kind != ".json":
        raise ValueError(
            f"clips was {clips}, but data {path} is no VIP-200K .json, which alone needs it: leave "
            "it out."
        )
    if path.is_dir():
        entries = read_folder(path)
    elif kind == ".jsonl" and path.is_file():
        entries = read_manifest_lines(path)
    elif kind == ".json" and path.is_file():
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


def check_any_usable(entries: Sequence[Entry], path: Path) -> None:
    """Raises ValueError where every entry of the dataset `path` has a problem.

    That is known before any model is loaded.
    """
    problems = [entry.problem for entry in entries if entry.problem is not None]
    if len(problems) == len(entries):
        others = f", and {len(problems) - 1} like it" if len(problems) > 1 else ""
        raise ValueError(
            f"data {path} offers no usable clip: {problems[0]}{others}; needs one or more videos "
            "with captions."
        )


def read_manifest_lines(path: Path) -> list[Entry]:
    """An entry for each line; a line that cannot be used becomes an entry with a problem.

    Clips and persons that `exclude.txt` beside the manifest names are passed over.
    """
    excluded = read_exclusions(path.parent)
    lines = read_raw_lines(path)
    numbered = ((number, text) for number, text in enumerate(lines, 1) if text.strip())
    return [
        _manifest_entry(path, number, text)
        for number, text in numbered
        if not (excluded and _names_of(text) & excluded)
    ]


def _names_of(text: bytes) -> set[str]:
    """What a manifest's line may be excluded by: its video and its persons."""
    try:
        line = json.loads(decode_line(text))
    except ValueError:
        return set()
    if not isinstance(line, dict):
        return set()
    persons = line.get("persons")
    persons = persons if isinstance(persons, list) else []
    return {str(each) for each in (line.get("video"), line.get("identity"), *persons)}


def _manifest_entry(path: Path, number: int, text: bytes) -> Entry:
    """The entry of a manifest's line, whose number is counted from 1."""
    unusable = Entry(id=f"{path.name}:{number}", video=path)
    try:
        line = json.loads(decode_line(text))
    except NotTextError as error:
        problem = f"line {number} of {path} {error}: save it as UTF-8"
        return replace(unusable, problem=problem, reason=Reason.ENCODING)
    except ValueError as error:
        return replace(unusable, problem=f"line {number} of {path} is not JSON ({error})")
    kinds = {"video": str, "caption": str, "reference": str, "identity": str | int}
    kinds |= {"start_s": int | float, "references": list, "origins": list, "shot": list}
    if not isinstance(line, dict) or not {"video", "caption"} <= line.keys():
        return replace(unusable, problem=f"line {number} of {path} lacks video or caption")
    # An optional key may be null, which is the same as leaving it out.
    required = ("video", "caption")
    given = {k: line[k] for k in kinds if k in required or line.get(k) is not None}
    for key, value in given.items():
        if not isinstance(value, kinds[key]):
            return replace(unusable, problem=f"line {number} of {path} has {key} {value!r}")
    start_s = float(given.get("start_s", 0))
    if not 0 <= start_s < math.inf or not trimmed(given["caption"]):
        problem = f"line {number} of {path} has an empty caption or a start that is not 0 or more"
        return replace(unusable, problem=problem)
    photos = [given["reference"]] if "reference" in given else []
    if "references" in given:
        photos, is_alone = given["references"], not photos
        if not (is_alone and photos and all(isinstance(photo, str) for photo in photos)):
            problem = f"line {number} of {path} has references {photos!r}; needs names of photos"
            return replace(unusable, problem=f"{problem}, and no reference beside them")
    try:
        origins = tuple(
            None if each is None else _origin(*each) for each in given.get("origins", ())
        )
        shot = _shot(*given["shot"]) if "shot" in given else None
        if origins and len(origins) != len(photos):
            raise ValueError(f"{len(origins)} origins of {len(photos)} photos")
    except (TypeError, ValueError) as error:
        problem = f"line {number} of {path} has origins or a shot that cannot be used ({error})"
        return replace(unusable, problem=f"{problem}; needs what collect wrote, or none")
    try:
        check_whole(given["caption"], "caption")
        video = path_in(path.parent, given["video"])
        first, *further = [path_in(path.parent, photo) for photo in photos] or [None]
    except ValueError as error:
        problem = f"line {number} of {path} could not be used: {str(error).rstrip('.')}"
        return replace(unusable, problem=problem)
    return Entry(
        id=f"{given['video']}@{start_s:g}",
        video=video,
        caption=trimmed(given["caption"]),
        start_s=start_s,
        identity=str(given["identity"]) if "identity" in given else None,
        reference=first,
        further=tuple(further),
        origins=origins,
        shot=shot,
    )


def _origin(file: str, time_s: float) -> Origin:
    return Origin(str(file), float(time_s))


def _shot(file: str, start_s: float, end_s: float) -> Stretch:
    return Stretch(str(file), float(start_s), float(end_s))


def _with_unique_ids(entries: list[Entry]) -> list[Entry]:
    """The entries with ids that any file can hold, and with `#2`, `#3`, ... added to an id that an
    earlier entry has."""
    seen: Counter[str] = Counter()
    unique = []
    for entry in (replace(each, id=whole(each.id)) for each in entries):
        seen[entry.id] += 1
        count = seen[entry.id]
        unique.append(entry if count == 1 else replace(entry, id=f"{entry.id}#{count}"))
    return unique
