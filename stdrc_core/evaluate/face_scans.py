"""The largest face in each scored frame of a clip, found once for all metrics that ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from ..faces.detector import Face
from ..faces.finder import FaceFinder
from ..faces.similarity import largest_faces, scored_indices
from ..photo_file import load_opaque_photo
from ..uint8 import to_uint8
from .metric import Clip

# Frames that are held until their faces are embedded together.
_CHUNK = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenFace:
    """A frame's largest face: `embedding` `[D]` of length 1, and `crop`, uint8, where asked for."""

    embedding: Tensor
    crop: Tensor | None


class FaceScan:
    """The faces of one clip; whoever shows it a frame first has it searched."""

    def __init__(self, scans: FaceScans, frames: tuple[int, ...]) -> None:
        self.frames = frames
        """The scored frames' numbers; a short clip's repeat."""
        self.wanted = frozenset(frames)
        self._scans = scans
        self._found: dict[int, SeenFace | None] = {}
        self._waiting: dict[int, Tensor] = {}

    def see(self, index: int, frame: Tensor) -> None:
        if index in self._found or index in self._waiting:
            return
        self._waiting[index] = frame
        if len(self._waiting) >= _CHUNK:
            self._search()

    def faces(self) -> list[SeenFace | None]:
        """Of each of `frames`; None where it shows none."""
        self._search()
        return [self._found[index] for index in self.frames]

    def _search(self) -> None:
        if self._waiting:
            self._found.update(
                zip(self._waiting, self._scans.search(list(self._waiting.values())), strict=True)
            )
            self._waiting.clear()


class FaceScans:
    """Faces of clips and of photos, by one pack.

    `crop` makes what is kept of a face's pixels, from its frame and the face.
    """

    def __init__(
        self, finder: FaceFinder, crop: Callable[[Tensor, Face], Tensor] | None = None
    ) -> None:
        self._finder, self._crop = finder, crop
        self._scans: WeakValueDictionary[Clip, FaceScan] = WeakValueDictionary()
        self._photos: dict[Path, SeenFace | None] = {}

    def of(self, clip: Clip, num_frames: int) -> FaceScan:
        """The clip's scan, the same for all who hold it; of all frames where `num_frames` is 0."""
        scan = self._scans.get(clip)
        if scan is None:
            frames = tuple(scored_indices(clip.num_frames, num_frames))
            scan = self._scans[clip] = FaceScan(self, frames)
        return scan

    def photo(self, path: Path) -> SeenFace:
        """The largest face of a photo; ValueError when it cannot be read or shows none."""
        if path not in self._photos:
            (self._photos[path],) = self.search([to_uint8(load_opaque_photo(path))[0]])
        face = self._photos[path]
        if face is None:
            raise ValueError(
                f"reference photo {path} shows no face that {self._finder.name} finds; needs one "
                "clear face: crop the photo closer, or take another."
            )
        return face

    def search(self, frames: list[Tensor]) -> list[SeenFace | None]:
        """The largest face of each frame `[h, w, 3]` uint8, all of one size."""
        stacked = torch.stack(frames)
        seen: list[SeenFace | None] = []
        for frame, found in zip(frames, largest_faces(stacked, self._finder), strict=True):
            if found is None:
                seen.append(None)
                continue
            crop = None if self._crop is None else self._crop(frame, found.face)
            seen.append(SeenFace(embedding=found.embedding, crop=crop))
        return seen
