"""AQ, aesthetic quality: LAION's linear head on CLIP ViT-L/14, averaged over all frames.

The head rates from 0 to 10; the score is a tenth of that. Pixels are prepared as in VBench: the
shorter side is scaled to 224 by bicubic interpolation without antialiasing, the middle is cut out,
and CLIP's mean and standard deviation are applied. All of it is in float32 on every device.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .clip_networks import embed_images, open_clip
from .frame_batches import FrameBatches
from .metric import Clip, Metric, Score, Watch
from .resources import Resources
from .weights import AESTHETIC, CLIP_L14, load_state, load_weights

_BEST = 10.0
_WHITE_LEVEL = 255
# Of CLIP's training images: red, green and blue in [0, 1].
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def prepared(frame: Tensor, side_px: int) -> Tensor:
    """A frame `[h, w, 3]` uint8 as CLIP takes it: `[3, side_px, side_px]`, normalised."""
    height, width, _ = frame.shape
    short = min(height, width)
    size = (int(side_px * height / short), int(side_px * width / short))
    levels = frame.movedim(-1, 0)[None].float()
    resized = F.interpolate(levels, size, mode="bicubic", align_corners=False)[0]
    top, left = (round((length - side_px) / 2) for length in size)
    middle = resized[:, top : top + side_px, left : left + side_px] / _WHITE_LEVEL
    mean, std = (middle.new_tensor(each)[:, None, None] for each in (_CLIP_MEAN, _CLIP_STD))
    return (middle - mean) / std


class _Watch(Watch):
    def __init__(self, metric: AestheticQuality, num_frames: int) -> None:
        self.wanted = range(num_frames)
        self._metric = metric
        self._values: list[Tensor] = []

    def see(self, index: int, frame: Tensor) -> None:
        self._metric.batches.add(prepared(frame, self._metric.side_px), self._values)

    def score(self) -> Score:
        return Score(value=float(torch.stack(self._values).mean()) / _BEST)


class AestheticQuality(Metric):
    """The head `sa_0_4_vit_l_14_linear.pth` holds `weight` `[1, 768]` and `bias` `[1]`."""

    def __init__(self, resources: Resources) -> None:
        model = open_clip(resources.path("aq", CLIP_L14)).to(resources.device)
        path = resources.path("aq", AESTHETIC)
        head = nn.Linear(model.config.projection_dim, 1)
        head = load_weights(head, load_state(path), path).to(resources.device)
        self.side_px: int = model.config.vision_config.image_size

        def rate(pixels: Tensor) -> Tensor:
            return head(embed_images(model, pixels))[:, 0]

        self.batches = FrameBatches(rate, resources.batch_size, resources.device)

    def watch(self, clip: Clip) -> _Watch:
        return _Watch(self, clip.num_frames)

    def flush(self) -> None:
        self.batches.flush()


open_metric = AestheticQuality
