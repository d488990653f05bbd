"""A face finder that looks at each distinct frame once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from torch import Tensor

from .finder import EmbeddedFace, FaceFinder

# Boxes, landmarks and embeddings take a few kilobytes a face; the frames are not kept.
MAX_FRAMES = 4096


class CachingFinder:
    """A `FaceFinder` that keeps what another one found in the last `max_frames` distinct frames.

    Frames are told apart by a digest of their pixels, so that a photo that comes again, a clip
    measured twice and a clip's still frames cost no detection.
    """

    def __init__(self, finder: FaceFinder, max_frames: int = MAX_FRAMES) -> None:
        self.name = finder.name
        self._finder, self._max_frames = finder, max_frames
        self._found: OrderedDict[bytes, tuple[EmbeddedFace, ...]] = OrderedDict()

    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
        """The faces of frames `[F, h, w, 3]` uint8."""
        digests = [_digest(frame) for frame in frames]
        here = {each: self._found[each] for each in digests if each in self._found}
        new = {each: i for i, each in enumerate(digests) if each not in here}
        if new:
            found = self._finder.find(frames[list(new.values())])
            here |= zip(new, found, strict=True)
        for each in digests:
            self._found[each] = here[each]
            self._found.move_to_end(each)
        while len(self._found) > self._max_frames:
            self._found.popitem(last=False)
        return [here[each] for each in digests]


def _digest(frame: Tensor) -> bytes:
    pixels = hashlib.blake2b(str(tuple(frame.shape)).encode(), digest_size=16)
    pixels.update(frame.contiguous().numpy())
    return pixels.digest()
