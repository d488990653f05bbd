"""What was left out of the data set, and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ...files import write_text

REPORT = "report.jsonl"


class Reason(StrEnum):
    """Why something was left out, in the words of the report."""

    UNREADABLE = "unreadable"
    SAME_FILE = "same contents as another file"
    NO_FACE = "no face in the file"
    SHOT_TOO_SHORT = "shot too short"
    OTHER_COUNT = "another number of persons"
    FACE_TOO_SMALL = "face too small"
    BLURRED = "face blurred"
    EXPOSURE = "face burnt out or in the dark"
    TURNED_AWAY = "face turned away"
    STILL = "no motion"
    DUPLICATE = "near-duplicate"
    UNKNOWN_PERSON = "person not recognised"
    NO_REFERENCE = "no reference from another shot"
    NOT_CUT = "could not be cut"
    NOT_WRITTEN = "could not be written"
    EXCLUDED = "excluded by hand"
    PHOTO = "photo not used"
    CAPTION = "no caption"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file, a stretch of one, or a clip that is not in the data set."""

    reason: Reason
    file: str
    """The footage's name."""
    detail: str
    """What was found and what is needed, in a sentence's words."""
    start_s: float | None = None
    end_s: float | None = None
    """From when to when, in seconds of the file; None stands for all of it."""

    def as_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> LeftOut:
        return cls(**{**line, "reason": Reason(line["reason"])})


def write_report(out: Path, left_out: Iterable[LeftOut]) -> None:
    """Writes `report.jsonl`, a line for each."""
    write_text(out / REPORT, "".join(json.dumps(each.as_json()) + "\n" for each in left_out))


def counted(left_out: Sequence[LeftOut]) -> str:
    """How often each reason came up, in words; the most frequent first."""
    counts = Counter(each.reason for each in left_out)
    return ", ".join(f"{reason}: {count}" for reason, count in counts.most_common()) or "none"


def joined(pieces: Sequence[LeftOut]) -> list[LeftOut]:
    """The pieces of a file, those that touch and have one reason made one."""
    whole: list[LeftOut] = []
    for each in pieces:
        last = whole[-1] if whole else None
        touches = (
            last is not None
            and (last.file, last.reason) == (each.file, each.reason)
            and last.end_s is not None
            and each.start_s is not None
            and each.start_s <= last.end_s + 1e-6
        )
        if touches:
            end_s = max(last.end_s, each.end_s)
            whole[-1] = LeftOut(**{**asdict(last), "end_s": end_s})
        else:
            whole.append(each)
    return whole
