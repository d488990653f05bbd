"""What all parts of the experiments share: the build, the folder OUT, and the networks they open.

OUT/numbers/PART.json    what a part has measured
OUT/pictures/            the pictures of the docs
OUT/miniature.md         the page of results
OUT/kept/PART/           pieces of a part, so that it goes on where it was stopped
OUT/reader.pt            the reader of captions, trained by the part that needs it first
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ..faces.caching_finder import CachingFinder
from ..faces.finder import FaceFinder, open_face_pack
from ..files import sha256_of
from ..generate.pipeline import Pipeline
from ..mini.shipped import CHECKPOINT_NAME
from ..mini_build.face_pack import DETECTOR_FILE, RECOGNIZER_FILE
from ..mini_build.provenance import commit_of, machine
from .arguments import flags
from .kept import keep, plain, stored_for
from .models import open_pipeline, open_reader
from .reader import CaptionReader

READER, FACES, NUMBERS = "reader.pt", "faces", "numbers"
FACE_FILES = (f"{FACES}/{DETECTOR_FILE}", f"{FACES}/{RECOGNIZER_FILE}")
SHIPPED = (CHECKPOINT_NAME, *FACE_FILES)
# The same reader judges all parts, whatever persons they are of.
_READER_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the experiments: a section of the page, and its numbers."""

    name: str
    asked: Callable[[argparse.Namespace], dict[str, Any]]
    """The settings of the command line that decide what it measures."""
    measure: Callable[[Workplace], dict[str, Any]]
    """Measures, draws the pictures and returns the results, plain values for JSON."""
    pictures: tuple[str, ...]
    """The names of its pictures."""
    files: tuple[str, ...] = SHIPPED
    """The files of the build that it is measured with; their digests decide too."""
    check: Callable[[argparse.Namespace], None] = lambda args: None
    """Raises ValueError where the build or the settings do not do, before anything is measured."""


class Workplace:
    """One run of one part; networks are opened when they are needed first."""

    def __init__(self, args: argparse.Namespace, part: Part) -> None:
        """`args` are those of the command line."""
        self.args, self.part = args, part
        self.build: Path = args.build
        self.out: Path = args.out
        self._places: dict[str, list[str]] = {"commit": [], "machine": []}

    @cached_property
    def faces(self) -> FaceFinder:
        """The build's own face pack, which looks at a photo once."""
        return CachingFinder(open_face_pack(self.build / FACES))

    @cached_property
    def reader(self) -> CaptionReader:
        """The reader of captions in OUT, trained there first if it is not there."""
        return open_reader(self.out / READER, _READER_SEED)

    @cached_property
    def pipeline(self) -> Pipeline:
        """The shipped weights, ready to sample."""
        return open_pipeline(self.build / CHECKPOINT_NAME)

    @cached_property
    def digests(self) -> dict[str, str]:
        """Name -> SHA-256 of each file that the part is measured with, and of the reader."""
        # Opening it makes it, where it is not there.
        self.reader  # noqa: B018
        digests = {name: sha256_of(self.build / name) for name in self.part.files}
        return digests | {READER: sha256_of(self.out / READER)}

    @cached_property
    def made_here(self) -> dict[str, str]:
        """The commit and the machine of what is measured now."""
        return {"commit": commit_of(), "machine": machine()}

    def keep(
        self,
        name: str,
        asked: Mapping[str, Any],
        make: Callable[[], Any],
        files: Sequence[str] | None = None,
        part: str | None = None,
    ) -> Any:
        """What the part's piece `name` has found, measured now unless it is there.

        `asked` decides, beside the digests of the reader and of those of the part's files that the
        piece is of: `files`, or all of them. A piece that parts share is kept by the one of them
        that is named as `part`.
        """
        path = self.out / "kept" / (part or self.part.name) / f"{name}.json"
        names = self.digests if files is None else (*files, READER)
        decisive = {"files": {each: self.digests[each] for each in names}} | dict(asked)
        found, made_by = keep(path, decisive, make, lambda: self.made_here)
        for key, seen in self._places.items():
            if made_by[key] not in seen:
                seen.append(made_by[key])
        return found

    def keep_seeds(
        self, name: str, asked: Mapping[str, Any], num_seeds: int, make: Callable[[int], Any]
    ) -> list[Any]:
        """What `make` finds with each seed of the noise, a piece each, as `keep` has them."""
        return [
            self.keep(f"{name}_seed_{seed}", asked, partial(make, seed))
            for seed in range(num_seeds)
        ]

    def picture(self, name: str) -> Path:
        """Where the part's picture of that name is written."""
        assert name in self.part.pictures
        return self.out / "pictures" / name

    @property
    def numbers_file(self) -> Path:
        """Where the part's numbers are written."""
        return self.out / NUMBERS / f"{self.part.name}.json"

    def numbers(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """The part's numbers: how, where and with what these results were measured."""
        # Pieces may have been measured before, by another commit.
        places = {key: seen or [self.made_here[key]] for key, seen in self._places.items()}
        return {
            "command": command_of(self.args, [self.part.name]),
            "commit": ", ".join(places["commit"]),
            "machine": "; ".join(places["machine"]),
            "asked": plain(self.part.asked(self.args)),
            "files": self.digests,
            "results": plain(results),
        }

    @property
    def is_done(self) -> bool:
        """Whether the numbers and pictures are there, of these settings and files."""
        stored = stored_for(self.numbers_file, self.part.asked(self.args))
        pictures = all(self.picture(name).is_file() for name in self.part.pictures)
        # Without the reader, no numbers are of it.
        has_reader = (self.out / READER).is_file()
        return bool(stored and pictures and has_reader and stored["files"] == self.digests)


def command_of(args: argparse.Namespace, only: Sequence[str] = ()) -> str:
    """The command that measures these parts with these settings; folders are named BUILD and OUT,
    as everybody has others."""
    words = ["python", "-m", __package__, "--build", "BUILD", "--out", "OUT"]
    if only:
        words += ["--only", *only]
    return shlex.join([*words, *flags(args)])
