"""What a metric is opened with: the weights, the device, and the faces that metrics share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from ..faces.gallery import GalleryRule
from ..faces.onnx_finder import open_onnx_pack
from ..faces.provider import Provider
from .curricular_face import aligned_crop
from .face_scans import FaceScans
from .weights import Weights, find_weights


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the metrics of one process are opened with."""

    device: torch.device
    weights: Path
    """The folder of all weights but the face pack's."""
    faces: Path | None = None
    """The folder of an InsightFace pack; None where no metric looks at faces."""
    keeps_crops: bool = False
    """Whether a face's crop is kept for FaceSim-Cur, beside its ArcFace embedding."""
    num_frames: int
    """How many frames of a clip FaceSim, TIC and CLIP-Score look at; 0 is all of them."""
    batch_size: int
    """How many frames a network takes at once."""
    gallery: GalleryRule = GalleryRule.MEAN
    """What FaceSim compares with where a clip has several photos."""
    vbench_python: Path | None = None
    """The Python of the environment that VBench is installed in."""

    def path(self, metric: str, weights: Weights) -> Path:
        """Where a metric's weights are; raises ValueError where they are missing."""
        return find_weights(self.weights, metric, weights)

    @cached_property
    def scans(self) -> FaceScans:
        """The faces of clips and photos, found once for all metrics that ask for them."""
        finder = open_onnx_pack(
            self.faces,
            provider=Provider.CPU if self.device.type == "cpu" else Provider.AUTO,
            device_index=self.device.index or 0,
        )
        return FaceScans(finder, aligned_crop if self.keeps_crops else None)
