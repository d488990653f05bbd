"""TIC, temporal identity consistency: how much the clip's frames agree on one face (Eq. 10)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import stack

from ..faces.constancy import constancy
from .face_scans import FaceScan
from .metric import Clip, Score
from .resources import Resources


class _Watch:
    def __init__(self, scan: FaceScan) -> None:
        self.wanted = scan.wanted
        self._scan = scan
        self.see = scan.see

    def score(self) -> Score:
        faces = self._scan.faces()
        found = [face.embedding for face in faces if face is not None]
        value = constancy(found)
        if value is None:
            raise ValueError(
                f"none of the {len(faces)} frames looked at shows a face; temporal identity needs "
                "one or more."
            )
        mean = F.normalize(stack(found).mean(dim=0), dim=0)
        curve = [None if face is None else float(face.embedding @ mean) for face in faces]
        return Score(value=value, frames=self._scan.frames, curve=tuple(curve))


class TemporalIdentity:
    """By the pack's ArcFace, on the frames that FaceSim looks at."""

    def __init__(self, resources: Resources) -> None:
        self._scans, self._num_frames = resources.scans, resources.options.frames

    def watch(self, clip: Clip) -> _Watch:
        return _Watch(self._scans.of(clip, self._num_frames))

    def flush(self) -> None:
        """Embedded as they come."""

    def close(self) -> None:
        """Holds nothing open."""


open_metric = TemporalIdentity
