"""Clips written and read by PyAV alone, and what of their pixels H.264 keeps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from torch import Tensor

# Bilinear, with swscale's SWS_ACCURATE_RND and SWS_FULL_CHR_H_INT.
_EXACT = int(Interpolation.BILINEAR) | 0x40000 | 0x2000


def encode(
    path: Path,
    frames: Tensor,
    fps: Fraction = Fraction(24),
    rotation: int = 0,
    **options: str,
) -> Path:
    """Writes `[F, h, w, 3]` uint8 RGB; `options` are x264's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "10"} | options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for pixels in frames.numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def decode(path: Path) -> np.ndarray:
    """All frames, `[F, h, w, 3]` uint8 RGB.

    The matrix is BT.709 where the file says so, and else BT.601, as of small files without a tag.
    """
    with av.open(str(path)) as container:
        is_709 = container.streams.video[0].codec_context.colorspace == Colorspace.ITU709
        matrices = (Colorspace.ITU709, Colorspace.ITU601)
        source, other = matrices if is_709 else reversed(matrices)
        frames = [
            frame.reformat(
                format="gbrp",
                src_colorspace=source,
                dst_colorspace=other,
                src_color_range=ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
                interpolation=_EXACT,
            )
            for frame in container.decode(video=0)
        ]
    return np.stack([frame.to_ndarray() for frame in frames])


def frame_rate(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        return container.streams.video[0].average_rate


def coarse(clip: Tensor) -> Tensor:
    """Mean grey levels of blocks of 8 x 8 pixels: H.264 keeps single pixels' colours badly."""
    return torch.nn.functional.avg_pool2d(clip.float().movedim(-1, 1), 8)
