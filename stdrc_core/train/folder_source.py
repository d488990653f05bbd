"""Reads a folder of clips with their captions and photos beside them.

What belongs to a clip goes by its name, in which case does not count: `Clip.MP4`, `clip.txt` and
`clip.ref.JPG` are one clip. A photo that is there and cannot be used counts as the clip's photo all
the same, so that it is reported and not replaced by another reference.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..folders import files_below, has_ending, listed, name_key
from ..text_files import NotTextError, read_text, trimmed
from .dataset_entry import VIDEO_SUFFIXES, Entry, Reason

log = logging.getLogger(__name__)

# In the order in which they are taken; what Pillow reads besides is taken too.
PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic")
_CAPTION = ".txt"
_PHOTO_MARK = ".ref"
_PHOTO_FOLDER = "refs"
# What may be called like a photo and is none.
_NOTES = (".txt", ".json", ".jsonl", ".csv", ".md", ".yaml", ".yml", ".xmp")
_NUM_SHOWN = 20


def read_folder(folder: Path) -> list[Entry]:
    """An entry for each video of the folder and its subfolders.

    A caption or a photo without a video becomes an entry with a problem. Other files are named in
    the log.
    """
    files = files_below(folder)
    videos = [path for path in files if has_ending(path, VIDEO_SUFFIXES)]
    beside = _Beside(videos)
    used, entries = set(videos), []
    for video in videos:
        caption, photo = beside.caption(video), beside.photo(video)
        used |= {caption, photo}
        entry = Entry(id=_id(video, folder), video=video, reference=photo)
        entries.append(_captioned(entry, caption))
    rest = [path for path in files if path not in used]
    lost = {path: what for path in rest if (what := _lost(path, beside)) is not None}
    for path, what in lost.items():
        problem = f"{what} {path} has no video beside it"
        video = path.with_suffix(VIDEO_SUFFIXES[0])
        entries.append(Entry(id=_id(path, folder), video=video, problem=problem))
    _tell([path for path in rest if path not in lost], folder)
    return entries


class _Beside:
    """Finds what belongs to the videos of a dataset, by their names."""

    def __init__(self, videos: Sequence[Path]) -> None:
        stems: dict[Path, set[str]] = defaultdict(set)
        for video in videos:
            stems[video.parent].add(video.stem)
        self.stems: Mapping[Path, set[str]] = stems
        self._listed: dict[Path, list[Path]] = {}

    def caption(self, video: Path) -> Path:
        """The video's caption; a path where nothing is if it has none."""
        expected = video.with_name(video.stem + _CAPTION)
        found = self._named(video, video.parent, expected.name)
        return found[0] if found else expected

    def photo(self, video: Path) -> Path | None:
        """The photo that belongs to a video; None where there is none."""
        marked = self._photos(video, video.parent, video.stem + _PHOTO_MARK)
        return marked or next(
            (
                photo
                for folder in self._in(video.parent)
                if name_key(folder.name) == _PHOTO_FOLDER
                and folder.is_dir()
                and (photo := self._photos(video, folder, video.stem)) is not None
            ),
            None,
        )

    def _photos(self, video: Path, folder: Path, stem: str) -> Path | None:
        """The file in `folder` called `stem` with some ending, the best kind of photo first."""
        found = self._named(video, folder, stem, any_ending=True)
        kinds = {suffix: place for place, suffix in enumerate(PHOTO_SUFFIXES)}
        photos = [path for path in found if not has_ending(path, _NOTES)]
        return min(photos, key=lambda path: kinds.get(path.suffix.lower(), 99), default=None)

    def _named(
        self, video: Path, folder: Path, name: str, *, any_ending: bool = False
    ) -> list[Path]:
        """The files in `folder` of this name, those of the same case first.

        A name that is in its own case that of another video is not taken from that one.
        """
        alike = []
        for path in self._in(folder):
            for found in {path.name, path.stem} if any_ending else {path.name}:
                if name_key(found) == name_key(name):
                    alike.append((found != name, path, found))
        others = self.stems[video.parent] - {video.stem}
        taken = {name.replace(video.stem, other, 1) for other in others}
        return [
            path
            for is_other_case, path, found in sorted(alike, key=lambda each: each[0])
            if not is_other_case or found not in taken
        ]

    def _in(self, folder: Path) -> list[Path]:
        if folder not in self._listed:
            self._listed[folder] = listed(folder)
        return self._listed[folder]


def _captioned(entry: Entry, path: Path) -> Entry:
    """The entry with the caption in the file beside its video."""
    if not path.is_file():
        return replace(entry, problem=f"caption {path} is missing")
    try:
        caption = trimmed(read_text(path, "caption"))
    except NotTextError as error:
        return replace(entry, problem=str(error), reason=Reason.ENCODING)
    except OSError as error:
        return replace(entry, problem=f"caption {path} could not be read ({error})")
    return replace(entry, caption=caption, problem=None if caption else f"caption {path} is empty")


def _lost(path: Path, beside: _Beside) -> str | None:
    """What a file is that belongs to a video which is not there; None for any other file."""
    if has_ending(path, (_CAPTION,)):
        return "caption"
    clip = Path(path.stem)
    is_photo = has_ending(path, PHOTO_SUFFIXES) and name_key(clip.suffix) == _PHOTO_MARK
    return "photo" if is_photo and clip.stem not in beside.stems[path.parent] else None


def _id(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _tell(others: Sequence[Path], folder: Path) -> None:
    """Names the files of the folder that nothing was made of."""
    if others:
        names = ", ".join(_id(path, folder) for path in others[:_NUM_SHOWN])
        more = f" and {len(others) - _NUM_SHOWN} more" if len(others) > _NUM_SHOWN else ""
        log.warning("%s: no clip, caption or photo, and passed over: %s%s.", folder, names, more)
