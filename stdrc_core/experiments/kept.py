"""Keeps what is measured piece by piece, so that the command goes on where it was stopped.

A piece is a JSON file, or a folder, that says what it was asked for. Where the same is asked again
it stays as it is; where anything else is asked, such as of other weights, it is made anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..files import write_json
from ..text_files import read_json

_ASKED = "asked.json"


class Kept(NamedTuple):
    """A piece: what was found, and where it was measured (`commit` and `machine`)."""

    found: Any
    made_by: dict[str, str]


def keep(
    path: Path,
    asked: Mapping[str, Any],
    make: Callable[[], Any],
    made_by: Callable[[], dict[str, str]],
) -> Kept:
    """The piece in the file `path` if it is of what is `asked`, else what `make` makes now, which
    is then written there whole.

    `asked` and what is made are plain values for JSON; `made_by` tells where it is measured.
    """
    stored = stored_for(path, asked)
    if stored is not None:
        return Kept(stored["found"], stored["made_by"])
    stored = {"asked": plain(asked), "made_by": made_by(), "found": plain(make())}
    write_json(path, stored)
    return Kept(stored["found"], stored["made_by"])


def stored_for(path: Path, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a JSON file holds if its key `asked` is what is asked; None where it is not, or where
    there is no such file."""
    if not path.is_file():
        return None
    stored = read_json(path)
    return stored if stored.get("asked") == plain(asked) else None


def own_folder(path: Path, asked: Mapping[str, Any]) -> Path:
    """The folder `path`, which holds what was made of what is `asked` and nothing else.

    What another request has left there is removed, so that its parts are not gone on with.
    """
    noted = path / _ASKED
    if not (noted.is_file() and read_json(noted) == plain(asked)):
        shutil.rmtree(path, ignore_errors=True)
        write_json(noted, plain(asked))
    return path


def plain(value: Any) -> Any:
    """A value as JSON gives it back: tuples are lists, keys are words, and NaN, which JSON does not
    know, is None."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)
