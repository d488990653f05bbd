"""Finds the videos and photos of a folder, and gives each a key that follows its contents."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...folders import files_below, has_ending
from ..dataset_entry import VIDEO_SUFFIXES
from ..folder_source import PHOTO_SUFFIXES
from .left_out import LeftOut, Reason

# The bytes of a file's beginning, middle and end that its key is made of, each.
_BLOCK_BYTES = 2**16
_NAME_CHARS = 24


@dataclass(frozen=True, kw_only=True)
class Footage:
    """A video of the footage."""

    key: str
    """A name for files: part of the video's own name and a digest of its contents."""
    name: str
    """The path from the footage's folder on, with slashes."""
    path: Path


def find_footage(folder: Path, out: Path) -> tuple[list[Footage], list[Path], list[LeftOut]]:
    """The videos and photos of `folder` in the order of their names, and what was left out.

    What lies in `out` is ours and is passed over. Of videos with the same contents the first
    counts. Raises ValueError where there is no video.
    """
    if not folder.is_dir():
        raise ValueError(
            f"footage {folder} is no folder; needs a folder of videos: check the path."
        )
    own = out.resolve()
    found = [path for path in files_below(folder) if not path.resolve().is_relative_to(own)]
    videos = [path for path in found if has_ending(path, VIDEO_SUFFIXES)]
    photos = [path for path in found if has_ending(path, PHOTO_SUFFIXES)]
    if not any(path.is_file() for path in videos):
        raise ValueError(
            f"footage {folder} holds no video ({', '.join(VIDEO_SUFFIXES)}); needs one or more: "
            "check the path."
        )
    kept, left_out = _keyed(folder, videos)
    return kept, photos, left_out


def _keyed(folder: Path, videos: Iterable[Path]) -> tuple[list[Footage], list[LeftOut]]:
    """Each video with its key, and the videos that cannot be read or are there twice."""
    kept: dict[str, Footage] = {}
    left_out = []
    for path in videos:
        name = path.relative_to(folder).as_posix()
        try:
            digest = _digest(path)
        except OSError as error:
            left_out.append(LeftOut(reason=Reason.UNREADABLE, file=name, detail=str(error)))
            continue
        if digest in kept:
            detail = f"{kept[digest].name} has the same contents"
            left_out.append(LeftOut(reason=Reason.SAME_FILE, file=name, detail=detail))
            continue
        plain = re.sub(r"[^A-Za-z0-9]+", "_", path.stem).strip("_")[:_NAME_CHARS]
        kept[digest] = Footage(key=f"{plain or 'video'}-{digest}", name=name, path=path)
    return list(kept.values()), left_out


def _digest(path: Path) -> str:
    """A digest of the file's size and of its beginning, middle and end."""
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=5)
    with path.open("rb") as file:
        for start in sorted({0, size // 2, max(0, size - _BLOCK_BYTES)}):
            file.seek(start)
            digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()
