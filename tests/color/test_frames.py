"""Clips as cameras, editors and networks tag them: a colour comes back as its tags mean it.

Every clip is one colour in a file of its own, coded by the test's own arithmetic.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from helpers.tagged_clips import FULL, LIMITED, UNSPECIFIED, Look, planes, rgb_of_bt709, write_solid

from stdrc_core.video import probe, read_clip, read_frames, stream_frames, write_clip

# Skin, and colours at which matrices and ranges differ most.
COLORS = [(224, 172, 105), (30, 200, 60), (180, 20, 40), (12, 14, 16), (250, 250, 245)]
NAMED = {
    "BT.709, limited": Look(matrix=1),
    "BT.601, limited": Look(matrix=6),
    "BT.601 of PAL, limited": Look(matrix=5),
    "BT.2020, limited": Look(matrix=9),
    "BT.709, full": Look(matrix=1, is_full=True),
    "BT.601, full": Look(matrix=6, is_full=True),
    "BT.2020, full": Look(matrix=9, is_full=True),
    "no tags, below 720 rows": Look(matrix=6, said_matrix=2, said_range=0),
    "no tags, 720 rows": Look(matrix=1, said_matrix=2, said_range=0, height=720, width=64),
    "no tags, 1280 columns": Look(matrix=1, said_matrix=2, said_range=0, height=48, width=1280),
    "no tags, 576 rows": Look(matrix=5, said_matrix=2, said_range=0, height=576, width=64),
    "yuvj420p": Look(matrix=5, is_full=True, pix_fmt="yuvj420p"),
    "yuvj444p of BT.709": Look(matrix=1, is_full=True, pix_fmt="yuvj444p"),
    "4:2:2": Look(pix_fmt="yuv422p"),
    "4:4:4": Look(pix_fmt="yuv444p"),
    "10 bit": Look(pix_fmt="yuv420p10le"),
    "10 bit, 4:2:2, BT.601": Look(pix_fmt="yuv422p10le", matrix=6),
    "10 bit, full": Look(pix_fmt="yuv420p10le", is_full=True),
    "10 bit, 4:4:4, BT.2020": Look(pix_fmt="yuv444p10le", matrix=9),
}
# What nobody named: other codecs and containers, other matrices, tags that say little or nonsense.
FURTHER = {
    "HEVC of a phone": Look(codec="libx265", pix_fmt="yuv420p10le"),
    "HEVC, full, BT.601": Look(codec="libx265", matrix=6, is_full=True),
    "VP9 in WebM": Look(codec="libvpx-vp9", suffix=".webm", matrix=1),
    "VP9 in WebM, BT.601": Look(codec="libvpx-vp9", suffix=".webm", matrix=6),
    "ProRes in MOV": Look(codec="prores_ks", suffix=".mov", pix_fmt="yuv422p10le"),
    "ProRes in MOV, BT.601": Look(
        codec="prores_ks", suffix=".mov", pix_fmt="yuv422p10le", matrix=6
    ),
    "FFV1 in Matroska, 12 bit": Look(codec="ffv1", suffix=".mkv", pix_fmt="yuv444p12le"),
    "FFV1 in Matroska, full": Look(codec="ffv1", suffix=".mkv", is_full=True),
    "MJPEG in AVI": Look(codec="mjpeg", suffix=".avi", pix_fmt="yuvj422p", matrix=5, is_full=True),
    "MPEG-2": Look(codec="mpeg2video", suffix=".mpg", matrix=5, said_matrix=2, said_range=0),
    "MPEG-4 part 2 in AVI": Look(
        codec="mpeg4", suffix=".avi", matrix=6, said_matrix=2, said_range=0
    ),
    "SMPTE 240M": Look(matrix=7),
    "FCC": Look(matrix=4),
    "a matrix that is reserved": Look(matrix=6, said_matrix=3),
    "a matrix of RGB on YUV": Look(matrix=6, said_matrix=0),
    "BT.601's primaries": Look(matrix=6, primaries=6, transfer=6),
    "sRGB's transfer": Look(matrix=1, primaries=1, transfer=13),
    "BT.709 tagged wholly": Look(matrix=1, primaries=1, transfer=1),
    "BT.2020's transfer alone": Look(matrix=9, transfer=14, pix_fmt="yuv420p10le"),
    "no tags, held upright, 1280 rows": Look(
        matrix=1, said_matrix=2, said_range=0, height=1280, width=32
    ),
    "no tags, 1280 columns turned upright": Look(
        matrix=1, said_matrix=2, said_range=0, height=32, width=1280, rotation=90
    ),
    "BT.709 turned": Look(matrix=1, rotation=-90),
}
# Coders without a lossless mode may be off by one more.
LOSSY = {"libvpx-vp9": 1, "prores_ks": 1, "mjpeg": 1, "mpeg2video": 2, "mpeg4": 2}


def assert_shown(path: Path, color: tuple[int, int, int], within: int = 2) -> None:
    info = probe(path)
    size = {"height": info.height, "width": info.width}
    by_clip = read_clip(path, num_frames=1, fps=24, **size)[0]
    (by_time,) = read_frames(path, [2 / 24])
    by_stream = next(stream_frames(path, range(1)))
    for frame in (by_clip, by_time, by_stream):
        off = (frame.int() - torch.tensor(color)).abs().amax(dim=(0, 1)).tolist()
        assert max(off) <= within, f"shown {frame[0, 0].tolist()}, not {color}"


@pytest.mark.parametrize("case", [*NAMED, *FURTHER])
def test_a_colour_comes_back_as_the_tags_mean_it(tmp_path: Path, case: str):
    look = (NAMED | FURTHER)[case]
    colors = COLORS if look.codec == "libx264" and look.height * look.width < 10**4 else COLORS[:2]
    for i, color in enumerate(colors):
        path = write_solid(tmp_path / f"{i}", tuple(each / 255 for each in color), look)
        assert_shown(path, color, 2 + LOSSY.get(look.codec, 0))


def test_all_of_the_colour_cube_is_within_two_levels(tmp_path: Path):
    rng = np.random.default_rng(3)
    for i, color in enumerate(rng.integers(0, 256, (40, 3)).tolist()):
        look = [Look(matrix=1), Look(matrix=6), Look(matrix=1, is_full=True)][i % 3]
        path = write_solid(tmp_path / "clip", tuple(each / 255 for each in color), look, 3)
        assert_shown(path, color)


def test_grey_files_keep_their_levels(tmp_path: Path):
    for level in (0, 7, 128, 255):
        look = Look(codec="ffv1", suffix=".mkv", pix_fmt="gray", is_full=True, said_range=0)
        path = write_solid(tmp_path / "grey", (level / 255,) * 3, look)
        assert_shown(path, (level,) * 3, 1)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [("libx264rgb", "rgb24", ".mp4"), ("png", "rgb24", ".mov"), ("qtrle", "rgb24", ".mov")],
)
def test_rgb_files_keep_their_pixels(tmp_path: Path, codec: str, pix_fmt: str, suffix: str):
    pixels = np.random.default_rng(1).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    path = tmp_path / f"screen{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, pix_fmt
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (shown,) = read_frames(path, [0.0])
    np.testing.assert_array_equal(shown.numpy(), pixels)


def test_a_variable_rate_keeps_time_and_colour(tmp_path: Path):
    """Frame i is shown from i^2 / 24 s on."""
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"qp": "0", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.time_base = 1, Fraction(1, 24)
        for i in range(6):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane, level in zip(frame.planes, (16 + 40 * i, 128, 128), strict=True):
                plane.update(bytes([level]) * plane.buffer_size)
            frame.pts, frame.time_base = i * i, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    shown = read_frames(path, [i * i / 24 for i in range(6)])
    expected = [round(min(255, 40 * i * 255 / 219)) for i in range(6)]
    assert [frame[0, 0, 0].item() for frame in shown] == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (Look(said_matrix=8), "colour matrix YCgCo"),
        (Look(said_matrix=14, pix_fmt="yuv420p10le"), "colour matrix ICtCp"),
        (Look(transfer=8), "linear light"),
        (Look(transfer=9), "logarithmic light"),
        (
            Look(codec="libx265", pix_fmt="yuv420p10le", codec_tag="dvh1", said_matrix=2),
            "Dolby Vision",
        ),
    ],
)
def test_colours_that_cannot_be_converted_are_one_sentence(tmp_path: Path, look: Look, words: str):
    path = write_solid(tmp_path / "odd", (0.5, 0.4, 0.3), look)
    for read in (probe, lambda p: read_frames(p, [0.0]), lambda p: next(stream_frames(p, [0]))):
        with pytest.raises(ValueError, match=words) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"clip {path} ") and message.endswith(".")
        assert "export it" in message and ". " not in message.replace(str(path), "")


# What is written


def written(path: Path, color: tuple[int, int, int], height: int = 64, width: int = 96) -> Path:
    pixels = torch.tensor(color, dtype=torch.uint8).expand(9, height, width, 3)
    return write_clip(path, pixels, 24)


@pytest.mark.parametrize("color", [*COLORS, (0, 0, 255), (255, 0, 0), (0, 255, 0), (255, 255, 0)])
@pytest.mark.parametrize("size", [(64, 96), (736, 64)])
def test_a_written_colour_is_shown_by_a_bt709_player(
    tmp_path: Path, color: tuple[int, int, int], size: tuple[int, int]
):
    path = written(tmp_path / "clip.mp4", color, *size)
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            extremes = [(each.min(), each.max()) for each in planes(frame)]
            for one in zip(*extremes, strict=True):
                shown = rgb_of_bt709(*(np.float64(level) for level in one))
                assert np.abs(shown - color).max() <= 2
    assert_shown(path, color)


def test_the_file_and_the_stream_in_it_say_bt709_and_limited(tmp_path: Path):
    path = written(tmp_path / "clip.mp4", COLORS[0])
    # ISO/IEC 14496-12's colour box: primaries, transfer, matrix, and the bit of the full range.
    assert b"colrnclx" + bytes([0, 1, 0, 1, 0, 1, 0]) in path.read_bytes()
    bare = tmp_path / "bare.h264"
    with av.open(str(path)) as source, av.open(str(bare), "w", format="h264") as target:
        out = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = out
                target.mux(packet)
    # Without the container, these can only be from the bitstream's VUI.
    with av.open(str(bare)) as container:
        next(container.decode(video=0))
        context = container.streams.video[0].codec_context
        said = context.colorspace, context.color_primaries, context.color_trc, context.color_range
    assert said == (1, 1, 1, LIMITED)
    assert UNSPECIFIED not in said[:3] and said[3] != FULL


def test_sharp_edges_between_colours_stay_in_place(tmp_path: Path):
    """Chroma that is shifted by a sample would colour the pixels on one side of the edge."""
    pixels = torch.zeros(9, 64, 96, 3, dtype=torch.uint8)
    pixels[:, :, 48:] = torch.tensor((200, 60, 60), dtype=torch.uint8)
    path = write_clip(tmp_path / "edge.mp4", pixels, 24)
    (shown,) = read_frames(path, [0.0])
    away = [*range(44), *range(52, 96)]
    assert (shown[:, away].int() - pixels[0][:, away].int()).abs().max() <= 8
