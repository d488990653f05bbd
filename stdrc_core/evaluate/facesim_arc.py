"""FaceSim-Arc: cosines of ArcFace embeddings with the photo's (docs/method.md section 7)."""

from __future__ import annotations

from collections.abc import Container

from torch import Tensor

from ..faces.similarity import clip_score, cosines
from .face_scans import FaceScan, SeenFace
from .metric import Clip, Score, Watch
from .resources import Resources


class _Watch:
    def __init__(self, scan: FaceScan, photo: SeenFace) -> None:
        self.wanted: Container[int] = scan.wanted
        self._scan, self._photo = scan, photo
        self.see = scan.see

    def score(self) -> Score:
        curve = cosines(self._scan.faces(), self._photo.embedding)
        return Score(value=clip_score(curve), frames=self._scan.frames, curve=tuple(curve))

    def embeddings(self) -> tuple[Tensor, list[Tensor]]:
        """The photo's, and those of the frames with a face."""
        faces = [face.embedding for face in self._scan.faces() if face is not None]
        return self._photo.embedding, faces


def embeddings_of(watch: Watch) -> tuple[Tensor, list[Tensor]] | None:
    """The photo's embedding and those of the frames with a face; None of another metric's."""
    return watch.embeddings() if isinstance(watch, _Watch) else None


class FaceSimArc:
    """The pack's recognition model is the ArcFace."""

    def __init__(self, resources: Resources) -> None:
        self._scans, self._num_frames = resources.scans, resources.options.frames

    def watch(self, clip: Clip) -> _Watch:
        return _Watch(self._scans.of(clip, self._num_frames), self._scans.photo(clip.reference))

    def flush(self) -> None:
        """Embedded as they come."""

    def close(self) -> None:
        """Holds nothing open."""


open_metric = FaceSimArc
