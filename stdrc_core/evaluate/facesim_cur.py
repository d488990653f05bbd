"""FaceSim-Cur: FaceSim by CurricularFace's IR-101 instead (docs/method.md section 7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from ..faces.drift import measure_drift
from ..faces.gallery import GalleryRule, gallery_embedding
from ..faces.similarity import cosine_with, facesim
from .curricular_face import IR101
from .face_scans import FaceScan, ScanWatch
from .frame_batches import FrameBatches
from .metric import Clip, Metric, Score
from .resources import Resources
from .weights import CURRICULAR_FACE, load_state, load_weights


class _Watch(ScanWatch):
    def __init__(
        self,
        scan: FaceScan,
        photo_crops: Sequence[Tensor],
        rule: GalleryRule,
        batches: FrameBatches,
    ) -> None:
        super().__init__(scan)
        self._photo_crops, self._rule, self._batches = photo_crops, rule, batches

    def score(self) -> Score:
        faces = self.scan.faces()
        # Only now are the faces of the last frames known, so that nothing could wait for `flush`.
        embedded: list[Tensor] = []
        for crop in (*self._photo_crops, *(face.crop for face in faces if face is not None)):
            self._batches.add(crop, embedded)
        self._batches.flush()
        num_photos = len(self._photo_crops)
        e_ref = gallery_embedding(embedded[:num_photos], self._rule)
        left = iter(embedded[num_photos:])
        curve = [None if face is None else cosine_with(next(left), e_ref) for face in faces]
        return Score(
            value=facesim(curve),
            frames=self.scan.frames,
            curve=tuple(curve),
            drift=measure_drift(self.scan.frames, curve),
        )


class FaceSimCur(Metric):
    """The crops of a clip's faces and its photo's go through the network together."""

    def __init__(self, resources: Resources) -> None:
        path = resources.path("facesim_cur", CURRICULAR_FACE)
        state = load_state(path)
        network = load_weights(IR101.for_weights(state), state, path).to(resources.device)
        self._scans, self._num_frames = resources.scans, resources.num_frames
        self._rule = resources.gallery
        self._batches = FrameBatches(
            lambda crops: F.normalize(network((crops.float() / 255 - 0.5) / 0.5), dim=-1),
            resources.batch_size,
            resources.device,
        )

    def watch(self, clip: Clip) -> _Watch:
        crops = [photo.crop for photo in self._scans.gallery(clip.references)]
        scan = self._scans.of(clip, self._num_frames)
        return _Watch(scan, crops, self._rule, self._batches)


open_metric = FaceSimCur
