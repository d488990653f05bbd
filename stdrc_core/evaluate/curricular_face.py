"""IR-101, the network of CurricularFace (Huang et al., CVPR 2020), and the crop that it looks at.

It is ArcFace's improved residual network of 3 + 13 + 30 + 3 blocks, here with the published names.
Two files of it are in use: the authors' own, and TFace's, trained on Glint360K, which has one more
norm in each block. FaceSim-Cur is measured with the latter. Unlike in ArcFace's r100, a block that
keeps the width has no convolution in its shortcut, and the last norm has no weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..faces.detector import Face
from ..faces.embedder import norm_crop

# Width and number of blocks of each stage.
_BLOCKS = ((64, 3), (128, 13), (256, 30), (512, 3))
_STEM_WIDTH = 64
SIZE_PX = 112
# InsightFace aligns the face at this size, which is then halved.
_CROP_PX = 224
# The four stages halve the size once each.
_LAST_SIZE_PX = SIZE_PX // 16
NUM_FEATURES = 512


def aligned_crop(frame: Tensor, face: Face) -> Tensor:
    """The network's view of a face in a frame `[h, w, 3]` uint8: `[3, 112, 112]`, uint8 RGB.

    InsightFace's `norm_crop` takes the face to 224 pixels, from the frame without padding; OpenCV's
    bilinear halving of that is the mean of 2 x 2 pixels, halves rounded up.
    """
    crop = torch.from_numpy(norm_crop(frame.numpy(), face.landmarks, _CROP_PX))
    return (F.avg_pool2d(crop.movedim(-1, 0).float(), 2) + 0.5).floor().to(torch.uint8)


class IRBlock(nn.Module):
    """Norm, convolution (, norm), PReLU, convolution of the block's stride, norm; beside them the
    shortcut."""

    def __init__(self, width_in: int, width: int, stride: int, has_middle_norm: bool) -> None:
        super().__init__()
        if width_in == width:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(width_in),
            nn.Conv2d(width_in, width, 3, 1, 1, bias=False),
            *([nn.BatchNorm2d(width)] if has_middle_norm else []),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class IR101(nn.Module):
    """Maps RGB crops `[B, 3, 112, 112]` in [-1, 1] to embeddings `[B, 512]`, not normalised."""

    def __init__(self, *, has_middle_norm: bool = True) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, _STEM_WIDTH, 3, 1, 1, bias=False),
            nn.BatchNorm2d(_STEM_WIDTH),
            nn.PReLU(_STEM_WIDTH),
        )
        widths = (_STEM_WIDTH, *(width for width, count in _BLOCKS for _ in range(count)))
        strides = (2 if not i else 1 for _, count in _BLOCKS for i in range(count))
        self.body = nn.Sequential(
            *(
                IRBlock(width_in, width, stride, has_middle_norm)
                for (width_in, width), stride in zip(
                    itertools.pairwise(widths), strides, strict=True
                )
            )
        )
        last = widths[-1]
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(last),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(last * _LAST_SIZE_PX**2, NUM_FEATURES),
            nn.BatchNorm1d(NUM_FEATURES, affine=False),
        )

    @classmethod
    def for_weights(cls, state: Mapping[str, Tensor]) -> IR101:
        """The variant that a checkpoint's names tell of, with its weights still to be loaded."""
        return cls(has_middle_norm="body.0.res_layer.5.weight" in state)

    def forward(self, x: Tensor) -> Tensor:
        return self.output_layer(self.body(self.input_layer(x)))
