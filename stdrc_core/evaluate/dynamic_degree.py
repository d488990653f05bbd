"""DD, dynamic degree: the share of clips that move, by RAFT's optical flow, as VBench defines it.

The clip is sampled every 1/8 s. Between each sampled frame and the next, the flow is as large as
the mean length of its longest 5 %; the pair moves where that is above 6 pixels per 256 of the
frame's shorter side. A clip moves where 4 pairs of 16 sampled frames do, in proportion to how many
it has.

The weights are torchvision's port of `raft-things`, the file that VBench uses; the 20 refinements
are VBench's too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .frame_batches import FrameBatches
from .metric import Clip, Metric, Score, Watch
from .resources import Resources
from .weights import RAFT, load_state, load_weights

_SAMPLED_FPS = 8
_NUM_REFINEMENTS = 20
_LONGEST_SHARE = 0.05
# A pair moves above so many pixels, for a shorter side of so many pixels.
_MOVES_ABOVE_PX, _PER_SIDE_PX = 6.0, 256.0
# How many pairs have to move, of so many frames.
_MOVING_PAIRS, _PER_FRAMES = 4, 16.0
# RAFT works on an eighth of the size, and its correlations on an eighth of that again.
_STEP_PX, _MIN_SIDE_PX = 8, 128
_HALF_WHITE = 127.5
# A pair of frames takes as much memory as so many images of the other networks.
_FRAMES_PER_PAIR = 8


def flow_length(flow: Tensor) -> Tensor:
    """The mean length of the longest 5 % of each flow `[B, 2, h, w]`, in pixels: `[B]`."""
    lengths = flow.square().sum(dim=1).sqrt().flatten(1)
    count = int(lengths.shape[1] * _LONGEST_SHARE)
    return lengths.topk(count, dim=1).values.mean(dim=1)


def moves(lengths: list[float], num_frames: int, short_side_px: int) -> bool:
    """Whether a clip of `num_frames` sampled frames moves; `lengths` are its pairs' flow lengths in
    pixels."""
    threshold = _MOVES_ABOVE_PX * short_side_px / _PER_SIDE_PX
    needed = round(_MOVING_PAIRS * num_frames / _PER_FRAMES)
    return bool(lengths) and sum(length > threshold for length in lengths) >= needed


class _Watch(Watch):
    def __init__(self, batches: FrameBatches, clip: Clip) -> None:
        if min(clip.height, clip.width) < _MIN_SIDE_PX:
            raise ValueError(
                f"frames are {clip.height} x {clip.width} pixels; RAFT needs {_MIN_SIDE_PX} or "
                "more a side."
            )
        self.wanted = range(0, clip.num_frames, max(1, round(clip.fps / _SAMPLED_FPS)))
        self._batches, self._clip = batches, clip
        self._last: Tensor | None = None
        self._lengths: list[Tensor] = []

    def see(self, index: int, frame: Tensor) -> None:
        now = _prepared(frame)
        if self._last is not None:
            self._batches.add(torch.stack((self._last, now)), self._lengths)
        self._last = now

    def score(self) -> Score:
        lengths = [float(length) for length in self._lengths]
        short_side_px = min(self._clip.height, self._clip.width)
        return Score(value=float(moves(lengths, len(self.wanted), short_side_px)))


class DynamicDegree(Metric):
    """A clip that moves scores 1.0, another one 0.0."""

    def __init__(self, resources: Resources) -> None:
        network = open_network(resources).to(resources.device)
        self._batches = FrameBatches(
            lambda pairs: flow_length(
                network(pairs[:, 0], pairs[:, 1], num_flow_updates=_NUM_REFINEMENTS)[-1]
            ),
            max(1, resources.batch_size // _FRAMES_PER_PAIR),
            resources.device,
        )

    def watch(self, clip: Clip) -> _Watch:
        return _Watch(self._batches, clip)

    def flush(self) -> None:
        self._batches.flush()


def open_network(resources: Resources) -> nn.Module:
    """RAFT. Raises ValueError for weights that are missing or of another network."""
    from torchvision.models.optical_flow import raft_large

    path = resources.path("dd", RAFT)
    return load_weights(raft_large(weights=None), load_state(path), path)


def _prepared(frame: Tensor) -> Tensor:
    """A frame `[h, w, 3]` uint8 as RAFT takes it: `[3, h', w']` in [-1, 1], its edges repeated so
    that both sides are multiples of 8."""
    pixels = frame.movedim(-1, 0).float() / _HALF_WHITE - 1
    height, width = (-length % _STEP_PX for length in frame.shape[:2])
    pads = (width // 2, width - width // 2, height // 2, height - height // 2)
    return F.pad(pixels[None], pads, mode="replicate")[0]


open_metric = DynamicDegree
