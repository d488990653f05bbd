"""A training clip as a dataset describes it, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..folders import files_below, has_ending

# In lower case; the first is the one that a clip is said to lack.
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv")
VIDEO_SUFFIXES += (".ts", ".mts", ".m2ts", ".3gp", ".ogv")


class Reason(StrEnum):
    """Why a clip was set aside, in the words of the report."""

    INCOMPLETE = "incomplete entry"
    ENCODING = "text is not UTF-8"
    UNREADABLE = "unreadable"
    TOO_SHORT = "too short"
    NO_REFERENCE = "no reference with a face"
    NO_FACE = "no face in the clip"
    OTHER_PERSON = "faces disagree with the reference"


# Seconds that a photo of a person keeps from the stretch that a clip is trained on.
WINDOW_MARGIN_S = 0.1


@dataclass(frozen=True)
class Origin:
    """What a photo of a person is: a file of its own, or a moment of a source video."""

    file: str
    """The photo's path, or the source video's name."""
    time_s: float | None = None
    """The second of the source video; None for a photo."""


@dataclass(frozen=True)
class Stretch:
    """A part of a source video."""

    file: str
    """The source video's name."""
    start_s: float
    end_s: float

    def distance_s(self, time_s: float) -> float:
        """How many seconds a time lies outside of this part and its margin; 0 or less is inside.

        The margin is needed because the frame that is shown at a time may begin earlier, and
        because times of frames are rounded.
        """
        return max(self.start_s - time_s, time_s - self.end_s) - WINDOW_MARGIN_S

    def holds(self, origin: Origin) -> bool:
        """Whether the photo is cut out of this part or its margin."""
        is_moment = origin.file == self.file and origin.time_s is not None
        return is_moment and self.distance_s(origin.time_s) <= 0


@dataclass(frozen=True, kw_only=True)
class KnownFace:
    """A face that the dataset points at; it is outside the training window of its entry."""

    video: Path
    time_s: float
    box: tuple[float, float, float, float]
    """Left, top, right and bottom of the face, as shares of the frame's sides."""
    origin: Origin
    """The same moment in the source video."""


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
    origins: tuple[Origin | None, ...] = ()
    """What all these photos are cut out of; empty, or None for one, where the dataset does not
    say."""
    shot: Stretch | None = None
    """The shot that the clip is of, whose light and clothes are the clip's; None where the dataset
    does not say."""
    faces: tuple[KnownFace, ...] = ()
    """Faces of the person that may serve as the reference, the best ones first."""
    footage: str | None = None
    """The source video that `video` is a part of; None where the dataset does not say, and `video`
    then counts as its own source."""
    footage_s: float = 0.0
    """At what second of its footage `video` begins."""
    problem: str | None = None
    """Why the entry cannot be used, where that is known before decoding; else None."""
    reason: Reason = Reason.INCOMPLETE
    """What kind of problem it is, if there is one."""


def find_videos(folder: Path) -> list[Path]:
    """All videos in a folder and its subfolders, sorted by path."""
    return [path for path in files_below(folder) if has_ending(path, VIDEO_SUFFIXES)]
