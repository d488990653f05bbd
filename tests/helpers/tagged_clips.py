"""Clips of one colour with the colour tags of a camera, and what players make of such clips.

Luma and chroma are computed here by the definitions of ITU-R BT.601, BT.709 and BT.2020, so that no
converter of FFmpeg has a part in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# Matrix by its number in H.273 -> how much red and blue weigh in luma.
WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
UNSPECIFIED, LIMITED, FULL = 2, 1, 2
Color = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a clip is coded, and what it says of that. Numbers are H.273's."""

    matrix: int = 1
    """By which the clip is coded."""
    is_full: bool = False
    """Whether its numbers go from 0 to the highest one."""
    pix_fmt: str = "yuv420p"
    said_matrix: int | None = None
    """What the clip says that its matrix is; None says the truth."""
    said_range: int | None = None
    transfer: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    codec: str = "libx264"
    suffix: str = ".mp4"
    height: int = 48
    width: int = 64
    rotation: int = 0
    codec_tag: str = ""


def write_solid(path: Path, color: Color, look: Look, num_frames: int = 9) -> Path:
    """Writes frames of one colour, RGB from 0 to 1; returns its path with the look's suffix."""
    path = path.with_suffix(look.suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"libx264": {"qp": "0"}, "libx265": {"x265-params": "lossless=1:log-level=none"}}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            look.codec, rate=Fraction(24), options=options.get(look.codec, {})
        )
        stream.height, stream.width, stream.pix_fmt = look.height, look.width, look.pix_fmt
        context = stream.codec_context
        context.colorspace = look.matrix if look.said_matrix is None else look.said_matrix
        true_range = FULL if look.is_full else LIMITED
        context.color_range = true_range if look.said_range is None else look.said_range
        context.color_trc, context.color_primaries = look.transfer, look.primaries
        if look.codec_tag:
            context.codec_tag = look.codec_tag
        if look.rotation:
            stream.set_display_rotation(look.rotation)
        for index in range(num_frames):
            frame = solid_frame(color, look)
            frame.colorspace, frame.color_range = context.colorspace, context.color_range
            frame.pts, frame.time_base = index, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def solid_frame(color: Color, look: Look) -> av.VideoFrame:
    """A frame of one colour, RGB from 0 to 1."""
    frame = av.VideoFrame(look.width, look.height, look.pix_fmt)
    num_bits = frame.format.components[0].bits
    levels = yuv_levels(color, look.matrix, num_bits, is_full=look.is_full)
    dtype = np.uint8 if num_bits == 8 else np.uint16
    for plane, level in zip(frame.planes, levels, strict=False):
        count = plane.buffer_size // dtype().itemsize
        plane.update(np.full(count, level, dtype).tobytes())
    return frame


def yuv_levels(color: Color, matrix: int, num_bits: int, *, is_full: bool) -> list[int]:
    """Luma, blue and red chroma as whole numbers (BT.709 sections 3 and 4, and its likes)."""
    red, green, blue = color
    of_red, of_blue = WEIGHTS[matrix]
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    chroma = (blue - luma) / 2 / (1 - of_blue), (red - luma) / 2 / (1 - of_red)
    unit, top = 2 ** (num_bits - 8), 2**num_bits - 1
    if is_full:
        values = [luma * top, *(each * top + 128 * unit for each in chroma)]
    else:
        values = [(219 * luma + 16) * unit, *((224 * each + 128) * unit for each in chroma)]
    return [int(np.clip(np.floor(value + 0.5), 0, top)) for value in values]


def rgb_of_bt709(luma: np.ndarray, blue: np.ndarray, red: np.ndarray) -> np.ndarray:
    """What a player shows of limited-range BT.709 of 8 bits, as RGB `[..., 3]` from 0 to 255."""
    y, cb, cr = (luma - 16.0) / 219, (blue - 128.0) / 224, (red - 128.0) / 224
    of_red, of_blue = WEIGHTS[1]
    shown_red, shown_blue = y + 2 * (1 - of_red) * cr, y + 2 * (1 - of_blue) * cb
    green = (y - of_red * shown_red - of_blue * shown_blue) / (1 - of_red - of_blue)
    return np.clip(255 * np.stack((shown_red, green, shown_blue), axis=-1), 0, 255)


def planes(frame: av.VideoFrame) -> list[np.ndarray]:
    """The planes of a frame of 8 bits, each `[h, w]`."""
    return [
        np.frombuffer(each, np.uint8).reshape(-1, each.line_size)[: each.height, : each.width]
        for each in frame.planes
    ]
