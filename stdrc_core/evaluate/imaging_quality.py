"""IQ, imaging quality: MUSIQ, trained on SPAQ, averaged over all frames.

MUSIQ rates from 0 to 100; the score is a hundredth of that. As in VBench, frames whose longer side
is above 512 pixels are scaled down to 512, bilinear without antialiasing. The network is pyiqa's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .frame_batches import FrameBatches
from .metric import Clip, Metric, Score, Watch
from .resources import Resources
from .weights import MUSIQ, load_state, load_weights

_BEST = 100.0
_WHITE_LEVEL = 255
_MAX_SIDE_PX = 512


def prepared(frame: Tensor) -> Tensor:
    """A frame `[h, w, 3]` uint8 as MUSIQ takes it: `[3, h', w']` in [0, 1], at most 512 a side."""
    pixels = frame.movedim(-1, 0).float()
    height, width = frame.shape[:2]
    if max(height, width) > _MAX_SIDE_PX:
        scale = _MAX_SIDE_PX / max(height, width)
        size = (int(scale * height), int(scale * width))
        pixels = F.interpolate(pixels[None], size, mode="bilinear", align_corners=False)[0]
    return pixels / _WHITE_LEVEL


class _Watch(Watch):
    def __init__(self, batches: FrameBatches, num_frames: int) -> None:
        self.wanted = range(num_frames)
        self._batches = batches
        self._values: list[Tensor] = []

    def see(self, index: int, frame: Tensor) -> None:
        self._batches.add(prepared(frame), self._values)

    def score(self) -> Score:
        return Score(value=float(torch.stack(self._values).mean()) / _BEST)


class ImagingQuality(Metric):
    """Frames of one size share a batch, whatever clip they are from."""

    def __init__(self, resources: Resources) -> None:
        network = open_network(resources).to(resources.device)
        self._batches = FrameBatches(
            lambda frames: network(frames).flatten(),
            resources.batch_size,
            resources.device,
        )

    def watch(self, clip: Clip) -> _Watch:
        return _Watch(self._batches, clip.num_frames)

    def flush(self) -> None:
        self._batches.flush()


def open_network(resources: Resources) -> nn.Module:
    """pyiqa's MUSIQ. Its weights are read here, as tensors only, and not by pyiqa.

    Raises ValueError for weights that are missing or of another network.
    """
    from pyiqa.archs.musiq_arch import MUSIQ as Musiq  # noqa: N811

    path = resources.path("iq", MUSIQ)
    state = load_state(path)
    # pyiqa publishes some files with the tensors below this key.
    state = state.get("params", state) if isinstance(state, dict) else state
    return load_weights(Musiq(pretrained=False), state, path)


open_metric = ImagingQuality
