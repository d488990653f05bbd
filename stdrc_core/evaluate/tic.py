"""TIC, temporal identity consistency: how much the frames of a clip agree on one face (Eq. 10).

It looks at the frames that FaceSim looks at, and embeds their faces with the same ArcFace.
"""

from __future__ import annotations

import torch

from ..faces.similarity import clip_tic, cosines
from ..method.identity import mean_direction
from .face_scans import ScanWatch
from .metric import Clip, Metric, Score
from .resources import Resources


class _Watch(ScanWatch):
    def score(self) -> Score:
        faces = self.scan.faces()
        value = clip_tic(faces)
        if value is None:
            raise ValueError(
                f"none of the {len(faces)} frames looked at shows a face; TIC needs one or more."
            )
        e_bar = mean_direction(torch.stack([each.embedding for each in faces if each is not None]))
        return Score(value=value, frames=self.scan.frames, curve=tuple(cosines(faces, e_bar)))


class TemporalIdentityConsistency(Metric):
    """1 - L_tic of each clip; a clip without a face has no score."""

    def __init__(self, resources: Resources) -> None:
        self._scans, self._num_frames = resources.scans, resources.num_frames

    def watch(self, clip: Clip) -> _Watch:
        return _Watch(self._scans.of(clip, self._num_frames))


open_metric = TemporalIdentityConsistency
