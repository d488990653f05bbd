"""The largest face in each scored frame of a clip, found once for all metrics that ask for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from ..faces.detector import Face
from ..faces.finder import FaceFinder, largest
from ..faces.gallery import check_one_person
from ..faces.similarity import find_padding, scored_indices
from ..photo_file import load_opaque_photo
from ..uint8 import to_uint8
from .metric import Clip, Watch

# How many frames are held until their faces are found and embedded together.
_CHUNK = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenFace:
    """The largest face of a frame."""

    embedding: Tensor
    """By the face pack's ArcFace, `[D]` of length 1."""
    crop: Tensor | None
    """What `FaceScans` keeps of the face's pixels, uint8; None where it keeps none."""
    others: tuple[Tensor, ...] = ()
    """The embeddings of the frame's other faces."""


class FaceScan:
    """The faces of one clip. Several metrics may show it a frame; it is searched once."""

    def __init__(self, scans: FaceScans, frames: tuple[int, ...]) -> None:
        self.frames = frames
        """The numbers of the scored frames; those of a short clip repeat."""
        self.wanted = frozenset(frames)
        self._scans = scans
        self._found: dict[int, SeenFace | None] = {}
        self._waiting: dict[int, Tensor] = {}

    def see(self, index: int, frame: Tensor) -> None:
        """Takes in the frame `[h, w, 3]` uint8 of that number."""
        if index in self._found or index in self._waiting:
            return
        self._waiting[index] = frame
        if len(self._waiting) >= _CHUNK:
            self._search()

    def faces(self) -> list[SeenFace | None]:
        """The largest face of each of `frames`; None for a frame without a face."""
        self._search()
        return [self._found[index] for index in self.frames]

    def _search(self) -> None:
        if self._waiting:
            self._found.update(
                zip(self._waiting, self._scans.search(list(self._waiting.values())), strict=True)
            )
            self._waiting.clear()


class ScanWatch(Watch):
    """A `Watch` that looks at the faces of a clip's scan."""

    def __init__(self, scan: FaceScan) -> None:
        self.wanted = scan.wanted
        self.scan = scan

    def see(self, index: int, frame: Tensor) -> None:
        self.scan.see(index, frame)


class FaceScans:
    """Finds the faces of clips and of photos with one face pack.

    `crop` makes, from a frame and a face in it, what is kept of the face's pixels; without it
    nothing is kept.
    """

    def __init__(
        self, finder: FaceFinder, crop: Callable[[Tensor, Face], Tensor] | None = None
    ) -> None:
        self._finder, self._crop = finder, crop
        self._scans: WeakValueDictionary[Clip, FaceScan] = WeakValueDictionary()
        self._photos: dict[Path, SeenFace | None] = {}

    def of(self, clip: Clip, num_frames: int) -> FaceScan:
        """The clip's scan, the same one for all who hold it, of `num_frames` frames evenly over the
        clip, or of all of them where it is 0."""
        scan = self._scans.get(clip)
        if scan is None:
            frames = tuple(scored_indices(clip.num_frames, num_frames))
            scan = self._scans[clip] = FaceScan(self, frames)
        return scan

    def photo(self, path: Path) -> SeenFace:
        """The largest face of a photo; raises ValueError where it shows none or cannot be read."""
        if path not in self._photos:
            (self._photos[path],) = self.search([to_uint8(load_opaque_photo(path))[0]])
        face = self._photos[path]
        if face is None:
            raise ValueError(
                f"reference photo {path} shows no face that {self._finder.name} finds; needs one "
                "clear face: crop the photo closer, or take another."
            )
        return face

    def gallery(self, paths: Sequence[Path]) -> list[SeenFace]:
        """The largest face of each of one person's photos; raises ValueError as `photo` does, and
        where the photos show two persons."""
        photos = [self.photo(path) for path in paths]
        names = [f"reference photo {path}" for path in paths]
        check_one_person([photo.embedding for photo in photos], names)
        return photos

    def search(self, frames: list[Tensor]) -> list[SeenFace | None]:
        """The largest face, or None, of each frame `[h, w, 3]` uint8; all have one size."""
        stacked = torch.stack(frames)
        seen: list[SeenFace | None] = []
        for frame, here in zip(frames, find_padding(stacked, self._finder), strict=True):
            found = largest(here)
            if found is None:
                seen.append(None)
                continue
            crop = None if self._crop is None else self._crop(frame, found.face)
            others = tuple(each.embedding for each in here if each is not found)
            seen.append(SeenFace(embedding=found.embedding, crop=crop, others=others))
        return seen
