"""Files as recorders, cameras and editors write them: each frame at its time, from the first on."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch
from PIL import Image

from stdrc_core.video import count_frames, probe, read_clip, read_frames, stream_frames

RATE = 25


def draw(num_frames: int) -> torch.Tensor:
    """Frame i has the grey level of i alone."""
    levels = torch.arange(num_frames, dtype=torch.uint8) % 30 * 8 + 8
    return levels[:, None, None, None].expand(-1, 48, 64, 3).contiguous()


def index_of(frame: torch.Tensor) -> int:
    return round(frame.float().mean().item() / 8) - 1


@dataclass(frozen=True)
class Made:
    """How a clip is written."""

    name: str
    num_frames: int = 9
    codec: str = "libx264"
    place: Callable[[int], int] = field(default=lambda i: i)
    """At which frame's time frame i is shown."""
    container: str | None = None
    options: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        path = folder / self.name
        with av.open(str(path), "w", format=self.container) as container:
            stream = container.add_stream(self.codec, rate=RATE, options=self.options)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            for i, pixels in enumerate(draw(self.num_frames).numpy()):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = self.place(i), Fraction(1, RATE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path


def with_cover(path: Path, covered: Path) -> Path:
    """Writes the clip with a green picture before it, as shops and taggers put covers."""
    picture = io.BytesIO()
    Image.new("RGB", (300, 300), (0, 255, 0)).save(picture, format="JPEG")
    with av.open(str(path)) as source, av.open(str(covered), "w") as target:
        cover = target.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 300, 300, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        film = target.add_stream_from_template(source.streams.video[0])
        packet = av.Packet(picture.getvalue())
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        packet.time_base = Fraction(1, 90000)
        target.mux(packet)
        for each in source.demux(video=0):
            if each.dts is not None:
                each.stream = film
                target.mux(each)
    return covered


FILES = {
    "a recording that began earlier, TS": Made("late.ts", place=lambda i: i + 2500),
    "one of a camcorder": Made("late.m2ts", place=lambda i: i + 90000, container="mpegts"),
    "a program stream": Made("a.mpg", codec="mpeg2video"),
    "MPEG-4 in AVI": Made("a.avi", codec="mpeg4"),
    "a late start in Matroska": Made("late.mkv", place=lambda i: i + 240),
    "times below zero": Made("early.mkv", place=lambda i: i - 3),
    "a raw stream": Made("a.h264", container="h264"),
    "a raw stream called MP4": Made("a.mp4", container="h264"),
    "raw MPEG-2": Made("a.m2v", codec="mpeg2video", container="mpeg2video"),
    "fragments": Made("a.mp4", options={"g": "3"}, container="mp4"),
    "Matroska called MP4": Made("a.mp4", container="matroska"),
    "FLV": Made("a.flv", codec="flv1"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_frame_comes_at_its_time(tmp_path: Path, name: str):
    path = FILES[name].write(tmp_path)
    clip = read_clip(path, num_frames=9, fps=RATE, height=48, width=64)
    assert [index_of(frame) for frame in clip] == list(range(9))
    assert index_of(read_frames(path, [4 / RATE])[0]) == 4
    assert [index_of(frame) for frame in stream_frames(path, range(9))] == list(range(9))
    assert count_frames(path) == 9
    if path.suffix != ".mpg":  # FFmpeg's own estimate of so short a program stream is off.
        assert probe(path).duration_s == pytest.approx(9 / RATE, abs=1.1 / RATE)


@pytest.mark.parametrize(
    "made",
    [
        Made("a.ts", 150, place=lambda i: i + 2500),
        Made("a.h264", 150, container="h264"),
        Made("a.mpg", 150, codec="mpeg2video"),
        Made("a.mkv", 150, place=lambda i: i + 240),
    ],
    ids=lambda made: made.name,
)
def test_a_late_start_is_found_in_files_that_cannot_be_sought(tmp_path: Path, made: Made):
    path = made.write(tmp_path)
    clip = read_clip(path, num_frames=9, fps=RATE, height=48, width=64, start_s=5.0)
    assert [index_of(frame) for frame in clip] == [i % 30 for i in range(125, 134)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_cover_picture_is_not_the_film(tmp_path: Path, name: str):
    path = with_cover(Made("film.mp4").write(tmp_path), tmp_path / name)
    clip = read_clip(path, num_frames=9, fps=RATE, height=48, width=64)
    assert [index_of(frame) for frame in clip] == list(range(9))
    assert (probe(path).width, count_frames(path)) == (64, 9)


def test_recordings_that_were_joined_go_on(tmp_path: Path):
    parts = [Made(f"{name}.ts").write(tmp_path).read_bytes() for name in "ab"]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    clip = read_clip(tmp_path / "both.ts", num_frames=17, fps=RATE, height=48, width=64)
    assert [index_of(frame) for frame in clip] == [*range(9), *range(8)]


def test_a_playlist_called_like_a_clip_opens_no_other_file(tmp_path: Path):
    Made("a.mp4").write(tmp_path)
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\na.mp4\n")
    with pytest.raises(ValueError, match="could not be read"):
        probe(path)
