"""FaceSim-Arc: how much a clip's faces are the photo's, by ArcFace (docs/method.md section 7)."""

from __future__ import annotations

from torch import Tensor

from ..faces.others import count_others
from ..faces.similarity import cosines, facesim
from .face_scans import FaceScan, ScanWatch, SeenFace
from .metric import Clip, Metric, Score
from .resources import Resources


class _Watch(ScanWatch):
    def __init__(self, scan: FaceScan, photo: SeenFace) -> None:
        super().__init__(scan)
        self._photo = photo

    def score(self) -> Score:
        faces, e_ref = self.scan.faces(), self._photo.embedding
        curve = cosines(faces, e_ref)
        # A frame of a short clip that comes twice is counted once.
        once = dict(zip(self.scan.frames, zip(faces, curve, strict=True), strict=True)).values()
        rest = [
            [] if face is None else [float(other @ e_ref) for other in face.others]
            for face, _ in once
        ]
        return Score(
            value=facesim(curve),
            frames=self.scan.frames,
            curve=tuple(curve),
            others=count_others([cosine for _, cosine in once], rest),
        )

    def embeddings(self) -> tuple[Tensor, list[Tensor]]:
        faces = [face.embedding for face in self.scan.faces() if face is not None]
        return self._photo.embedding, faces


class FaceSimArc(Metric):
    """The ArcFace is the recognition model of the face pack."""

    def __init__(self, resources: Resources) -> None:
        self._scans, self._num_frames = resources.scans, resources.num_frames

    def watch(self, clip: Clip) -> _Watch:
        return _Watch(self._scans.of(clip, self._num_frames), self._scans.photo(clip.reference))


open_metric = FaceSimArc
