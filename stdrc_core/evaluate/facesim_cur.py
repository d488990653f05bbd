"""FaceSim-Cur: FaceSim by CurricularFace's IR-101 instead (docs/method.md section 7)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..faces.similarity import facesim
from .curricular_face import IR101
from .face_scans import FaceScan, ScanWatch
from .frame_batches import FrameBatches
from .metric import Clip, Metric, Score
from .resources import Resources
from .weights import CURRICULAR_FACE, load_state, load_weights


class _Watch(ScanWatch):
    def __init__(self, scan: FaceScan, photo_crop: Tensor, batches: FrameBatches) -> None:
        super().__init__(scan)
        self._photo_crop, self._batches = photo_crop, batches

    def score(self) -> Score:
        faces = self.scan.faces()
        # Only now are the faces of the last frames known, so that nothing could wait for `flush`.
        embedded: list[Tensor] = []
        for crop in (self._photo_crop, *(face.crop for face in faces if face is not None)):
            self._batches.add(crop, embedded)
        self._batches.flush()
        e_ref, *e_frames = embedded
        left = iter(e_frames)
        curve = [None if face is None else float(next(left) @ e_ref) for face in faces]
        return Score(value=facesim(curve), frames=self.scan.frames, curve=tuple(curve))


class FaceSimCur(Metric):
    """The crops of a clip's faces and its photo's go through the network together."""

    def __init__(self, resources: Resources) -> None:
        path = resources.path("facesim_cur", CURRICULAR_FACE)
        state = load_state(path)
        network = load_weights(IR101.for_weights(state), state, path).to(resources.device)
        self._scans, self._num_frames = resources.scans, resources.num_frames
        self._batches = FrameBatches(
            lambda crops: F.normalize(network((crops.float() / 255 - 0.5) / 0.5), dim=-1),
            resources.batch_size,
            resources.device,
        )

    def watch(self, clip: Clip) -> _Watch:
        photo = self._scans.photo(clip.reference)
        return _Watch(self._scans.of(clip, self._num_frames), photo.crop, self._batches)


open_metric = FaceSimCur
