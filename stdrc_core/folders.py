"""Lists the folders of users, and reads the paths that users write.

Hidden files and what operating systems leave behind (._a.onnx, .DS_Store, Thumbs.db, __MACOSX) are
passed over, and the case of a name's ending does not count.
"""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# What Windows, macOS and file servers leave behind, in lower case.
_LEFT_BEHIND = {
    *("__macosx", "icon\r"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *("@eadir", "#recycle", "#snapshot", "@tmp", "@recycle", "@recently-snapshot", "lost+found"),
}


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's own."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def name_key(name: str) -> str:
    """What two names share that differ in case, or in how accents are composed."""
    return unicodedata.normalize("NFC", name).casefold()


def listed(folder: Path, endings: Collection[str] = ()) -> list[Path]:
    """The files and folders in a folder, sorted by name; with `endings` only files of these.

    `endings` are in lower case, such as `.onnx`. There is nothing in what is no folder. Raises
    OSError for a folder that may not be read.
    """
    if not folder.is_dir():
        return []
    paths = sorted(path for path in folder.iterdir() if not is_hidden(path.name))
    if not endings:
        return paths
    return [path for path in paths if has_ending(path, endings) and not path.is_dir()]


def has_ending(path: Path, endings: Collection[str]) -> bool:
    """Whether a file's name ends in one of `endings`, which are in lower case."""
    return path.name.lower().endswith(tuple(endings))


def files_below(folder: Path) -> list[Path]:
    """The files of a folder and its subfolders, sorted by path.

    Links to folders are followed, and each folder is looked through once, by a path without links
    where there is one. A folder that may not be read is passed over with a warning.
    """
    found: list[Path] = []
    seen: set[str] = set()
    waiting, linked = [folder], []
    while waiting or linked:
        current = waiting.pop() if waiting else linked.pop(0)
        real = os.path.realpath(current)
        if real in seen:
            continue
        seen.add(real)
        try:
            paths = listed(current)
        except OSError as error:
            log.warning("folder %s is passed over: it could not be read (%s).", current, error)
            continue
        for path in paths:
            if not path.is_dir():
                found.append(path)
            elif path.is_symlink():
                linked.append(path)
            else:
                waiting.append(path)
    return sorted(found)


def user_path(text: str | Path) -> Path:
    """Returns the path that a user wrote, where `~` is the user's own folder."""
    try:
        return Path(text).expanduser()
    # `~name` of a user whom this machine does not know.
    except RuntimeError:
        return Path(text)


def path_in(folder: Path, text: str) -> Path:
    """Returns the path that a file in `folder` has written down, which begins at `folder`.

    Raises ValueError for a path of Windows on another system, where nothing of that name is there.
    """
    path = folder / user_path(text)
    if "\\" in text and os.sep == "/" and not os.path.lexists(path):
        raise ValueError(f"{text} is a path of Windows; needs / between its folders")
    return path


def with_home(value: Any) -> Any:
    """Returns a path, or the paths in a list or tuple, by `user_path`, and all else as it is."""
    if isinstance(value, list | tuple):
        return type(value)(with_home(each) for each in value)
    return user_path(value) if isinstance(value, Path) else value
