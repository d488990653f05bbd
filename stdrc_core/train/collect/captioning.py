"""Gives each clip its caption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from ...text_files import read_text
from ...video import read_frames
from .caption_asking import NUM_FRAMES
from .caption_text import CaptionError
from .captioners import Captioner
from .clips import CLIPS
from .plan import PlannedClip
from .record_store import RecordStore

# A captioner that fails so often in a row is not asked again in this run.
_MOST_FAILURES = 5


@dataclass(kw_only=True)
class Captions:
    """The captions of a data set: texts of the user's first, then those of a captioner."""

    out: Path
    records: RecordStore
    videos: Mapping[str, Path]
    """The path of each video by its key."""
    captioner: Captioner | None
    """None leaves it at the texts that are there."""
    beside_videos: bool
    """Whether the text beside a video is the caption of all of its clips."""
    _failures: int = 0
    _lock: Lock = field(default_factory=Lock)

    def text_of_user(self, clip: PlannedClip) -> str:
        """The text beside the clip, or beside its video; empty where there is none."""
        places = [self.out / CLIPS / f"{clip.window.key}.txt"]
        if self.beside_videos:
            places.append(self.videos[clip.window.footage].with_suffix(".txt"))
        for path in places:
            if path.is_file():
                text = read_text(path, "caption")
                if text.strip():
                    return " ".join(text.split())
        return ""

    def made(self, clip: PlannedClip) -> dict[str, Any] | None:
        """The record of the clip's caption by the captioner, or None."""
        return self.records.read(clip.window.key, self._asked(clip))

    def is_done(self, clip: PlannedClip) -> bool:
        """Whether the clip has a caption, or got none from the captioner."""
        return self.captioner is None or bool(self.text_of_user(clip)) or bool(self.made(clip))

    def make(self, clip: PlannedClip) -> None:
        """Asks the captioner, and keeps what it said or why it said nothing of use."""
        made = self._ask(clip)
        self.records.write(clip.window.key, self._asked(clip), made)

    def caption(self, clip: PlannedClip) -> tuple[str, str]:
        """The clip's caption, and why there is none where it is empty."""
        text = self.text_of_user(clip)
        if text:
            return text, ""
        made = self.made(clip) if self.captioner else self.records.read_any(clip.window.key)
        made = made or {}
        if "caption" in made:
            return made["caption"], ""
        nothing = "no text beside it and no captioner; give --captions, or write the text"
        return "", made.get("problem", nothing)

    def _asked(self, clip: PlannedClip) -> dict[str, Any]:
        window = clip.window
        times = [round(window.start_s, 6), round(window.end_s, 6)]
        return {"captioner": self.captioner.name if self.captioner else "", "window": times}

    def _ask(self, clip: PlannedClip) -> dict[str, str]:
        if self._failures >= _MOST_FAILURES:
            return {"problem": f"the captioner failed {_MOST_FAILURES} times and was not asked"}
        window = clip.window
        span = window.end_s - window.start_s
        times = [window.start_s + (i + 0.5) * span / NUM_FRAMES for i in range(NUM_FRAMES)]
        try:
            frames = read_frames(self.videos[window.footage], times)
            made = {"caption": self.captioner.caption([_picture(each) for each in frames])}
        except ConnectionError as error:
            with self._lock:
                self._failures += 1
            return {"problem": str(error)}
        except (CaptionError, ValueError) as error:
            made = {"problem": str(error)}
        with self._lock:
            self._failures = 0
        return made


def _picture(frame: Any) -> Image.Image:
    return Image.fromarray(frame.numpy())
