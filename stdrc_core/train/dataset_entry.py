"""A training clip as a dataset describes it, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


@dataclass(frozen=True, kw_only=True)
class KnownFace:
    """A face that the dataset points at; it is outside the training window of its entry."""

    video: Path
    time_s: float
    box: tuple[float, float, float, float]
    """Left, top, right and bottom of the face, as shares of the frame's sides."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One training clip: `window_s` seconds of `video` from `start_s` on."""

    id: str
    video: Path
    caption: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    """Until when the caption is true, in seconds of `video`; None is the file's end."""
    identity: str | None = None
    reference: Path | None = None
    further: tuple[Path, ...] = ()
    """Photos at slots 1, 2, ..., of the same person as `reference` or of others in the clip."""
    faces: tuple[KnownFace, ...] = ()
    """Faces of the person that may serve as the reference, the best ones first."""
    footage: str | None = None
    """The source video that `video` is a part of; None where the dataset does not say, and `video`
    then counts as its own source."""
    footage_s: float = 0.0
    """At what second of its footage `video` begins."""
    problem: str | None = None
    """Why the entry cannot be used, where that is known before decoding; else None."""


def find_videos(folder: Path) -> list[Path]:
    """All videos in a folder and its subfolders, sorted by path."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
