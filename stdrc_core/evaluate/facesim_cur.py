"""FaceSim-Cur: FaceSim by CurricularFace's IR-101 (docs/method.md section 7).

The face that FaceSim-Arc takes is cropped by InsightFace's `norm_crop` to 224 pixels, from the
frame without padding, and halved.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..faces.detector import Face
from ..faces.embedder import norm_crop
from ..faces.similarity import clip_score
from .curricular_face import IR101
from .face_scans import FaceScan
from .frame_batches import FrameBatches
from .metric import Clip, Score
from .metric_registry import CURRICULAR_FACE
from .resources import Resources, load_state, load_weights

_CROP_PX = 224


def aligned_crop(frame: Tensor, face: Face) -> Tensor:
    """The network's view of a face in `[h, w, 3]`: `[3, 112, 112]`, uint8 RGB.

    OpenCV's bilinear halving is the mean of 2 x 2 pixels, halves rounded up.
    """
    crop = torch.from_numpy(norm_crop(frame.numpy(), face.landmarks, _CROP_PX))
    return (F.avg_pool2d(crop.movedim(-1, 0).float(), 2) + 0.5).floor().to(torch.uint8)


class _Watch:
    def __init__(self, scan: FaceScan, photo_crop: Tensor, batches: FrameBatches) -> None:
        self.wanted = scan.wanted
        self._scan, self._batches = scan, batches
        self._photo_crop = photo_crop
        self.see = scan.see

    def score(self) -> Score:
        faces = self._scan.faces()
        embedded: list[Tensor] = []
        for crop in (self._photo_crop, *(face.crop for face in faces if face is not None)):
            self._batches.add(crop, embedded)
        self._batches.flush()
        e_ref, *e_frames = embedded
        left = iter(e_frames)
        cosines = [None if face is None else float(next(left) @ e_ref) for face in faces]
        return Score(value=clip_score(cosines), frames=self._scan.frames, curve=tuple(cosines))


class FaceSimCur:
    """Crops of a clip and its photo go through the network together."""

    def __init__(self, resources: Resources) -> None:
        path = resources.path("facesim_cur", CURRICULAR_FACE)
        state = load_state(path)
        network = load_weights(IR101.for_weights(state), state, path).to(resources.device)
        self._scans, self._num_frames = resources.scans, resources.options.frames
        self._batches = FrameBatches(
            lambda crops: F.normalize(network((crops.float() / 255 - 0.5) / 0.5), dim=-1),
            resources.options.batch_size,
            resources.device,
        )

    def watch(self, clip: Clip) -> _Watch:
        photo = self._scans.photo(clip.reference)
        return _Watch(self._scans.of(clip, self._num_frames), photo.crop, self._batches)

    def flush(self) -> None:
        """The scan's last faces are known only when it is asked for them."""

    def close(self) -> None:
        """Holds nothing open."""


open_metric = FaceSimCur
