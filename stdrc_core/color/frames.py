"""Turns the frames of a video file into RGB by the file's own colour tags, and RGB into frames.

A tag says which matrix made luma and chroma of RGB, which range their numbers have, and which light
the RGB stands for. FFmpeg knows all of that, but which of it PyAV heeds differs between its
versions; here it is always named.

* Matrix: BT.601, BT.709, BT.2020, SMPTE 240M or FCC. A file without the tag is taken as BT.709 from
  720 rows or 1280 columns on, and as BT.601 below, which is the rule of most players; FFmpeg's own
  converter, and so PyAV, takes BT.601 at all sizes. Any other matrix is refused: FFmpeg's converter
  has no coefficients for it.
* Range: full if the tag or a `yuvj` format says so, limited otherwise. Grey is full without a tag.
* Light: PQ and HLG (HDR), and the primaries of BT.2020 and Display P3, are turned into BT.709 (see
  `tone`). HDR without other tags is BT.2020, as BT.2100 has it. All else is left as it is: BT.601's
  primaries are near BT.709's, and FFmpeg does not convert them either.
"""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from .tone import Primaries, Transfer, to_bt709

# The numbers of ITU-T H.273, by which FFmpeg and files name them.
BT709, _UNSPECIFIED = 1, 2
# Matrix -> FFmpeg's number for its coefficients. Numbers 0 (RGB) and 3 (reserved) say nothing of
# YUV.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_UNSAID = (0, _UNSPECIFIED, 3)
_BT601, _BT2020 = 5, 9
_MATRIX_NAMES = {
    8: "YCgCo",
    11: "SMPTE 2085",
    12: "chromaticity-derived",
    13: "chromaticity-derived",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
_TRANSFERS = {16: Transfer.PQ, 18: Transfer.HLG}
_TRANSFER_NAMES = {8: "linear", 9: "logarithmic", 10: "logarithmic", 17: "SMPTE 428"}
_PRIMARIES = {_BT2020: Primaries.BT2020, 12: Primaries.P3}
# From these sides on, a file without a tag has BT.709's matrix.
_HD_HEIGHT, _HD_WIDTH = 720, 1280
# Without these flags, FFmpeg's arithmetic is off by up to 4 levels, and repeats chroma instead of
# interpolating it. PyAV 14 has no names for them (SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT).
_EXACT = int(Interpolation.BILINEAR) | 0x40000 | 0x2000
_TOP_CODE = 65535
# Sample entries of Dolby Vision; its profile 5 has no picture that other decoders can show.
_DOLBY_VISION = ("dvh1", "dvhe", "dav1")


class ColorError(ValueError):
    """The error for colours that cannot be converted; its message begins with a verb."""


@dataclass(frozen=True, kw_only=True)
class Tags:
    """What a frame's colours mean."""

    matrix: int
    """FFmpeg's number for the coefficients; without meaning for RGB."""
    is_full_range: bool
    transfer: Transfer
    primaries: Primaries

    @property
    def is_plain(self) -> bool:
        """Whether the RGB is BT.709's as it stands."""
        return self.transfer is Transfer.SDR and self.primaries is Primaries.BT709


def tagged_to_rgb(frame: av.VideoFrame, tags: Tags) -> np.ndarray:
    """Returns a decoded frame as `[h, w, 3]` uint8 RGB, BT.709, by the tags that were read of it.

    Raises ColorError for colours that cannot be converted.
    """
    planes = VideoReformatter().reformat(
        frame,
        format="gbrp" if tags.is_plain else "gbrp16le",
        src_colorspace=tags.matrix,
        # PyAV 14 hands matrix and range on only where source and destination differ; RGB has no
        # matrix, so any other does.
        dst_colorspace=_BT601 if tags.matrix == BT709 else BT709,
        src_color_range=ColorRange.JPEG if tags.is_full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_EXACT,
    )
    pixels = planes.to_ndarray()
    if tags.is_plain:
        return pixels
    codes = pixels.astype(np.int64) * _TOP_CODE // _white_code(frame, tags)
    codes = torch.from_numpy(codes.clip(max=_TOP_CODE).astype(np.int32))
    return to_bt709(codes, tags.transfer, tags.primaries).numpy()


def to_frame(pixels: np.ndarray) -> av.VideoFrame:
    """Returns `[h, w, 3]` uint8 RGB as a frame of limited-range BT.709 in yuv420p, and tagged so.

    Both sides are even.
    """
    frame = VideoReformatter().reformat(
        av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"),
        format="yuv420p",
        src_colorspace=_BT601,
        dst_colorspace=BT709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=_EXACT,
    )
    frame.colorspace, frame.color_range = BT709, ColorRange.MPEG
    return frame


def tag_bt709(stream: av.VideoStream) -> None:
    """Makes an encoder's stream say of itself what `to_frame` makes: limited-range BT.709."""
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = ColorRange.MPEG


def read_tags(frame: av.VideoFrame, stream: av.VideoStream) -> Tags:
    """Returns what a decoded frame's colours mean.

    Raises ColorError for colours that cannot be converted.
    """
    context, layout = stream.codec_context, frame.format
    # PyAV 14 has these two of the stream alone.
    transfer = getattr(frame, "color_trc", context.color_trc)
    primaries = getattr(frame, "color_primaries", context.color_primaries)
    if transfer in _TRANSFER_NAMES:
        raise ColorError(
            f"has {_TRANSFER_NAMES[transfer]} light; needs SDR, HLG or PQ: export it again."
        )
    if context.codec_tag in _DOLBY_VISION and transfer == _UNSPECIFIED:
        raise ColorError(
            "is Dolby Vision without a base picture that is HLG, PQ or SDR; needs one of these: "
            "export it as HDR10, HLG or SDR."
        )
    if transfer in _TRANSFERS and primaries in _UNSAID:
        primaries = _BT2020
    is_rgb = layout.is_rgb or layout.has_palette
    is_grey = len(layout.components) <= 2 and not is_rgb
    is_full = frame.color_range == ColorRange.JPEG or layout.name.startswith("yuvj")
    return Tags(
        matrix=BT709 if is_rgb or is_grey else _matrix(frame, is_hdr=transfer in _TRANSFERS),
        is_full_range=is_full or is_rgb or (is_grey and frame.color_range != ColorRange.MPEG),
        transfer=_TRANSFERS.get(transfer, Transfer.SDR),
        primaries=_PRIMARIES.get(primaries, Primaries.BT709),
    )


def _white_code(frame: av.VideoFrame, tags: Tags) -> int:
    """Returns which number FFmpeg's converter makes of white in 16 bits: it only shifts."""
    num_bits = frame.format.components[0].bits if tags.is_full_range else 8
    return (2**num_bits - 1) << (16 - num_bits)


def _matrix(frame: av.VideoFrame, *, is_hdr: bool) -> int:
    said = frame.colorspace
    if said in _UNSAID:
        if is_hdr:
            return _BT2020
        is_hd = frame.height >= _HD_HEIGHT or frame.width >= _HD_WIDTH
        return BT709 if is_hd else _BT601
    if said not in _MATRICES:
        name = _MATRIX_NAMES.get(said, f"number {said}")
        raise ColorError(
            f"has the colour matrix {name}; needs BT.601, BT.709 or BT.2020: export it again."
        )
    return _MATRICES[said]
