"""Reads the user's own photos, and finds the face in each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ...faces.finder import FaceFinder, largest
from ...photo_file import load_opaque_photo
from ...uint8 import to_uint8


@dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """A photo that lies in the footage's folder."""

    path: Path
    embedding: Tensor | None = None
    """The embedding of its largest face, `[D]` of length 1; None where there is none."""
    problem: str = ""
    """Why there is none."""


def read_photos(
    paths: Sequence[Path], finder: FaceFinder, done: Callable[[], object]
) -> list[Photo]:
    """The photos in their order; `done` is called after each."""
    photos = []
    for path in paths:
        photos.append(_read(path, finder))
        done()
    return photos


def _read(path: Path, finder: FaceFinder) -> Photo:
    try:
        face = largest(finder.find(to_uint8(load_opaque_photo(path)))[0])
    except ValueError as error:
        return Photo(path=path, problem=str(error))
    if face is None:
        return Photo(path=path, problem="it shows no face; needs another photo")
    return Photo(path=path, embedding=face.embedding.float())
