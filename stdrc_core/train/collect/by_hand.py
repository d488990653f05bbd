"""What the user decides by hand: who is one person, who is two, and what is left out.

`persons.txt` has lines `merge ID ID ...` and `split ID CLIP CLIP ...`; `exclude.txt` has a clip or
a person in each line. Both lie in the data set's folder; what follows a `#` is a remark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...text_files import read_lines
from ..dataset_exclusions import EXCLUDE, read_exclusions

PERSONS = "persons.txt"

__all__ = ["EXCLUDE", "PERSONS", "Decisions", "read_decisions"]


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What was decided by hand."""

    merged: Mapping[str, str]
    """Person -> the person that he or she really is."""
    split: Mapping[tuple[str, str], str]
    """(person, clip) -> the id of the person that the clip really shows."""
    excluded: frozenset[str]
    """Clips and persons that are left out."""

    def person(self, person: str, clips: frozenset[str]) -> str:
        """Who a track is that was taken for `person` and is seen in `clips`."""
        found = {self.split[person, clip] for clip in clips if (person, clip) in self.split}
        name = min(found) if found else person
        return self.merged.get(name, name)


def read_decisions(out: Path) -> Decisions:
    """What stands in the two files of a data set's folder, where they are.

    Raises ValueError for a line that is none of these.
    """
    merged: dict[str, str] = {}
    split: dict[tuple[str, str], str] = {}
    num_splits: dict[str, int] = {}
    path = out / PERSONS
    for number, words in _lines(path):
        match words:
            case ["merge", first, *others] if others:
                for other in others:
                    merged[other] = first
            case ["split", person, *clips] if clips:
                num_splits[person] = num_splits.get(person, 1) + 1
                name = f"{person}-{num_splits[person]}"
                split |= {(person, clip_key(clip)): name for clip in clips}
            case _:
                raise ValueError(
                    f"line {number} of {path} is {' '.join(words)!r}; needs `merge ID ID ...` or "
                    "`split ID CLIP CLIP ...`: mend or remove it."
                )
    excluded = {clip_key(each) for each in read_exclusions(out)}
    return Decisions(merged=_resolved(path, merged), split=split, excluded=frozenset(excluded))


def clip_key(name: str) -> str:
    """The key of a clip that is named by its file, or the name as it is."""
    inner = name.removeprefix("clips/")
    return inner.rpartition(".")[0] if inner != name and "." in inner else inner


def _resolved(path: Path, merged: Mapping[str, str]) -> dict[str, str]:
    """Each person's last name, where a person is merged into one that is merged on."""
    found = {}
    for person in merged:
        seen, name = {person}, merged[person]
        while name in merged:
            if name in seen:
                raise ValueError(
                    f"{path} merges {person} in a circle; needs one person that all are: remove a "
                    "line."
                )
            seen.add(name)
            name = merged[name]
        found[person] = name
    return found


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    if not path.is_file():
        return
    for number, line in enumerate(read_lines(path), 1):
        words = line.partition("#")[0].split()
        if words:
            yield number, words
