"""A training clip as a dataset offers it, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


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
    further: tuple[Path, ...] = ()
    """Photos beside `reference`, of the same person or of others in the clip: slots 1, 2, ..."""
    faces: tuple[KnownFace, ...] = ()
    footage: str | None = None
    """The source video that `video` is a part of, where the dataset tells; else `video` itself."""
    footage_s: float = 0.0
    """When in its footage `video` begins."""
    problem: str | None = None
    """Why it cannot be used, where that is known before decoding."""


def find_videos(folder: Path) -> list[Path]:
    """All videos in a folder and its subfolders, in a stable order."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
