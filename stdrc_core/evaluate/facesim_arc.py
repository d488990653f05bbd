"""FaceSim-Arc: how much a clip's faces are the photo's, by ArcFace (docs/method.md section 7)."""

from __future__ import annotations

from torch import Tensor

from ..faces.drift import measure_drift
from ..faces.gallery import gallery_embedding
from ..faces.others import count_others
from ..faces.similarity import cosine_with, cosines, facesim
from .face_scans import FaceScan, ScanWatch
from .metric import Clip, Metric, Score
from .resources import Resources


class _Watch(ScanWatch):
    def __init__(self, scan: FaceScan, e_ref: Tensor) -> None:
        super().__init__(scan)
        self._e_ref = e_ref

    def score(self) -> Score:
        faces, e_ref = self.scan.faces(), self._e_ref
        curve = cosines(faces, e_ref)
        # A frame of a short clip that comes twice is counted once.
        once = dict(zip(self.scan.frames, zip(faces, curve, strict=True), strict=True)).values()
        rest = [
            [] if face is None else [cosine_with(other, e_ref) for other in face.others]
            for face, _ in once
        ]
        return Score(
            value=facesim(curve),
            frames=self.scan.frames,
            curve=tuple(curve),
            drift=measure_drift(self.scan.frames, curve),
            others=count_others([cosine for _, cosine in once], rest),
        )

    def embeddings(self) -> tuple[Tensor, list[Tensor]]:
        faces = [face.embedding for face in self.scan.faces() if face is not None]
        return self._e_ref, faces


class FaceSimArc(Metric):
    """The ArcFace is the recognition model of the face pack."""

    def __init__(self, resources: Resources) -> None:
        self._scans, self._num_frames = resources.scans, resources.num_frames
        self._rule = resources.gallery

    def watch(self, clip: Clip) -> _Watch:
        photos = [photo.embedding for photo in self._scans.gallery(clip.references)]
        e_ref = gallery_embedding(photos, self._rule)
        return _Watch(self._scans.of(clip, self._num_frames), e_ref)


open_metric = FaceSimArc
