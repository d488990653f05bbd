"""Reads what was taken out of a data set by hand: `exclude.txt` beside its manifest."""

from __future__ import annotations

from pathlib import Path

from ..text_files import read_lines

EXCLUDE = "exclude.txt"


def read_exclusions(folder: Path) -> frozenset[str]:
    """The clips and persons that `exclude.txt` names, one a line; none where it is not there.

    A clip is named as in the manifest's `video`, a person as in its `identity`. What follows a `#`
    is a remark.
    """
    path = folder / EXCLUDE
    if not path.is_file():
        return frozenset()
    lines = (line.partition(" #")[0].strip() for line in read_lines(path))
    return frozenset(line for line in lines if line and not line.startswith("#"))
