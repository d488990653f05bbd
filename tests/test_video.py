"""Reading and writing clips: against frames that the test drew, and FFmpeg's own view of files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from helpers.clips import decode, encode
from PIL import Image
from torch import Tensor

from stdrc_core.video import contact_sheet, probe, read_clip, read_frames, write_clip


def draw_frames(num_frames: int, height: int = 64, width: int = 96) -> Tensor:
    """Smooth colours and a bright bar: frame i has its grey level and bar place from i alone."""
    frames = torch.zeros(num_frames, height, width, 3, dtype=torch.uint8)
    frames[..., 1] = torch.linspace(40, 200, width).to(torch.uint8)
    frames[..., 2] = torch.linspace(200, 40, height).to(torch.uint8)[:, None]
    for i in range(num_frames):
        frames[i, ..., 0] = 8 * (i % 30)
    return frames


def shown_index(frame: Tensor) -> int:
    """Which frame of `draw_frames` this is, read from its red level."""
    return round(frame[..., 0].float().mean().item() / 8)


def psnr(one: Tensor, other: Tensor) -> float:
    error = (one.float() - other.float()).pow(2).mean().item()
    return 10 * np.log10(255**2 / max(error, 1e-9))


def test_a_clip_comes_back_as_it_was_drawn(tmp_path: Path):
    frames = draw_frames(17)
    path = write_clip(tmp_path / "new" / "clip.mp4", frames, 24)
    back = read_clip(path, num_frames=17, fps=24, height=64, width=96)
    assert back.shape == frames.shape
    assert back.dtype == torch.uint8
    assert psnr(back, frames) > 35
    assert [shown_index(frame) for frame in back] == list(range(17))
    assert [each.name for each in path.parent.iterdir()] == ["clip.mp4"]


def test_the_same_frames_are_the_same_file(tmp_path: Path):
    # With x264's macroblock tree they were 61 files. What is filled and freed between leaves the
    # memory of each file's making otherwise.
    frames = draw_frames(9)
    files = set()
    for size in range(1, 101):
        filled = [bytes([size]) * (size * 997 * i) for i in range(1, 8)]
        files.add(write_clip(tmp_path / "clip.mp4", frames, 24).read_bytes())
        del filled
    assert len(files) == 1


def test_the_file_is_h264_yuv420p_at_the_asked_rate(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4", draw_frames(9), 24000 / 1001)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.pix_fmt == "yuv420p"
        assert stream.average_rate == Fraction(24000, 1001)
        assert stream.frames == 9


def test_decoding_agrees_with_ffmpegs_own_frames(tmp_path: Path):
    """FFmpeg's quick arithmetic is off by a few levels, ours is exact."""
    path = encode(tmp_path / "clip.mp4", draw_frames(17), Fraction(24))
    theirs = torch.from_numpy(decode(path))
    back = read_clip(path, num_frames=17, fps=24, height=64, width=96)
    off = (back.int() - theirs.int()).abs()
    assert off.max() <= 5 and off.float().mean() < 1.5


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30), Fraction(12), Fraction(60)])
def test_each_target_time_gets_the_nearest_source_frame(tmp_path: Path, rate: Fraction):
    path = encode(tmp_path / "clip.mp4", draw_frames(30), rate)
    fps, start = 24.0, 0.05
    num_frames = 1 + 8 * int((29 / float(rate) - start) * fps // 8)
    back = read_clip(path, num_frames=num_frames, fps=fps, height=64, width=96, start_s=start)
    times = start + np.arange(num_frames) / fps
    expected = np.abs(np.arange(30) / float(rate) - times[:, None]).argmin(axis=1)
    assert [shown_index(frame) for frame in back] == expected.tolist()


def test_a_late_start_seeks_and_gives_the_same_frames(tmp_path: Path):
    """Far behind the last keyframe, and with B-frames: the seek may not lose or shift frames."""
    frames = draw_frames(30).repeat(6, 1, 1, 1)
    path = encode(tmp_path / "clip.mp4", frames, Fraction(24), g="50")
    back = read_clip(path, num_frames=17, fps=24, height=64, width=96, start_s=137 / 24)
    assert [shown_index(frame) for frame in back] == [i % 30 for i in range(137, 154)]


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_metadata_is_honoured(tmp_path: Path, rotation: int):
    frames = draw_frames(9)
    path = encode(tmp_path / "clip.mp4", frames, Fraction(24), rotation=rotation)
    upright = torch.rot90(frames, rotation // 90, dims=(1, 2))
    height, width = upright.shape[1:3]
    info = probe(path)
    assert (info.height, info.width) == (height, width)
    assert info.rotation_deg % 360 == rotation % 360
    back = read_clip(path, num_frames=9, fps=24, height=height, width=width)
    assert psnr(back, upright) > 35


def test_another_aspect_is_covered_and_cropped_about_the_middle(tmp_path: Path):
    frames = draw_frames(9, height=64, width=160)
    path = encode(tmp_path / "clip.mp4", frames, Fraction(24))
    back = read_clip(path, num_frames=9, fps=24, height=64, width=64)
    assert psnr(back, frames[:, :, 48:112]) > 35
    small = read_clip(path, num_frames=9, fps=24, height=32, width=32)
    pillow = Image.fromarray(frames[0].numpy()).resize((80, 32), Image.Resampling.BICUBIC)
    assert psnr(small[0], torch.from_numpy(np.array(pillow))[:, 24:56]) > 35


def test_single_frames_come_at_full_size_and_stop_at_the_end(tmp_path: Path):
    path = encode(tmp_path / "clip.mp4", draw_frames(20), Fraction(24))
    frames = read_frames(path, [0.0, 5 / 24, 19 / 24, 3.0])
    assert [shown_index(frame) for frame in frames] == [0, 5, 19]
    assert frames[0].shape == (64, 96, 3)


def test_probe_tells_duration_and_rate(tmp_path: Path):
    info = probe(encode(tmp_path / "clip.mp4", draw_frames(20), Fraction(24000, 1001)))
    assert info.fps == pytest.approx(24000 / 1001)
    assert info.duration_s == pytest.approx(20 * 1001 / 24000, abs=1e-3)


def broken(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.mp4"
    if kind == "truncated":
        whole = encode(tmp_path / "whole.mp4", draw_frames(17), Fraction(24)).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is a letter, not a film\n" * 50)
    elif kind == "audio":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=44100)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.rate = 44100
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "could not be read"),
        ("empty", "could not be read"),
        ("text", "could not be read"),
        ("audio", "no video stream"),
        ("missing", "is not a file"),
    ],
)
def test_a_broken_file_is_one_sentence_that_names_it(tmp_path: Path, kind: str, words: str):
    path = broken(tmp_path, kind)
    for read in (probe, lambda p: read_clip(p, num_frames=9, fps=24, height=32, width=32)):
        with pytest.raises(ValueError, match=words) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_too_short_says_how_much_there_is(tmp_path: Path):
    path = encode(tmp_path / "clip.mp4", draw_frames(12), Fraction(24))
    with pytest.raises(ValueError, match="12 of the 17 frames"):
        read_clip(path, num_frames=17, fps=24, height=32, width=32)
    with pytest.raises(ValueError, match="0 of the 9 frames"):
        read_clip(path, num_frames=9, fps=24, height=32, width=32, start_s=60)


def test_a_number_of_frames_that_the_vae_cannot_take(tmp_path: Path):
    with pytest.raises(ValueError, match="num_frames was 16; needs 8n"):
        read_clip(tmp_path / "any.mp4", num_frames=16, fps=24, height=32, width=32)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (torch.zeros(2, 4, 4, 3), "uint8"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), "F, H, W, 3"),
        (torch.zeros(2, 5, 4, 3, dtype=torch.uint8), "even sides"),
    ],
)
def test_what_cannot_be_written_leaves_no_file(tmp_path: Path, frames: Tensor, words: str):
    with pytest.raises(ValueError, match=words):
        write_clip(tmp_path / "clip.mp4", frames, 24)
    assert list(tmp_path.iterdir()) == []


def test_a_contact_sheet_shows_a_row_a_clip(tmp_path: Path):
    clip, photo = draw_frames(17, 64, 64), torch.full((1, 64, 32, 3), 255, dtype=torch.uint8)
    path = contact_sheet(tmp_path / "a.png", [clip, photo], num_columns=3, tile_height=64)
    sheet = torch.from_numpy(np.array(Image.open(path)))
    assert sheet.shape == (128, 192, 3)
    assert torch.equal(sheet[:64], torch.cat([clip[0], clip[8], clip[16]], dim=1))
    assert torch.equal(sheet[64:, :32], photo[0])
    with pytest.raises(ValueError, match="at least one clip"):
        contact_sheet(tmp_path / "b.png", [])
