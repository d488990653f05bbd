"""Reads clips at a wanted rate and size, and writes them as H.264.

A clip is `[F, H, W, 3]` uint8 RGB, BT.709 for SDR screens: files are read by their own colour tags,
and written as BT.709 (`color.frames`). Times are seconds from the first frame of the file. Frames
are turned by the rotation in the file's metadata, which phones write, and pixels that are not
square are stretched, so that faces stand upright and undistorted.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .color.frames import ColorError, Tags, read_tags, tag_bt709, tagged_to_rgb, to_frame
from .files import why_unreadable, written_aside
from .method.grid import LTX_SCALE_FACTORS
from .method.reference import Fit, fitted_box

# Seeking lands on the keyframe before the time wanted. Up to this time it is cheaper and safer to
# read from the start.
_MIN_SEEK_S = 4.0
# x264's constant rate factor; at this value no loss is seen.
_QUALITY_CRF = "15"
# With x264's macroblock tree, the same frames now and then give another file where the width is no
# multiple of 128. This was measured with PyAV 18.1; it does not happen without the tree, nor
# without x264's assembler code.
_X264_PARAMS = "mbtree=0"


class ClipTooShortError(ValueError):
    """The error for a clip that is sound but ends before the last frame that was asked for."""


@dataclass(frozen=True, kw_only=True)
class ClipInfo:
    """What a file holds, with its frames upright."""

    duration_s: float
    """The length of the clip in seconds."""
    fps: float
    """The number of frames per second."""
    height: int
    """The height of an upright frame in pixels."""
    width: int
    """The width of an upright frame in pixels."""
    rotation_deg: int
    """The angle by which the stored frames are turned for showing, in degrees counter-clockwise."""


def probe(path: str | Path) -> ClipInfo:
    """Reads what a clip is like, from its first frame and its metadata.

    Raises ValueError where the file cannot be read, has no video, or has colours that cannot be
    converted.
    """
    with _opened(path) as (container, stream):
        frame = next(container.decode(stream), None)
        if frame is None:
            raise ValueError(_no_frames(path))
        upright = _upright(frame, stream)
        return ClipInfo(
            duration_s=_duration_s(path, container, stream),
            fps=_rate(stream),
            height=upright.height,
            width=upright.width,
            rotation_deg=frame.rotation,
        )


def read_clip(
    path: str | Path,
    *,
    num_frames: int,
    fps: float,
    height: int,
    width: int,
    start_s: float = 0.0,
) -> Tensor:
    """Reads `num_frames` frames at `fps` from `start_s` on: `[num_frames, height, width, 3]` uint8.

    Each is the frame of the file that is nearest in time. It is scaled with its aspect ratio kept
    until it covers `height` x `width` pixels, and is cropped about its middle.

    Raises ValueError for a number of frames that is not 8n + 1 and as `probe` does, and
    ClipTooShortError for a clip that ends too early.
    """
    check_num_frames(num_frames)
    times = [start_s + index / fps for index in range(num_frames)]
    frames = [np.asarray(_cover(image, height, width)) for image in _images_at(path, times)]
    if len(frames) < num_frames:
        raise ClipTooShortError(
            f"clip {path} holds {len(frames)} of the {num_frames} frames wanted from "
            f"{start_s:.3g} s on at {fps:g} frames/s; needs a longer clip: lower the number of "
            "frames or the start."
        )
    return torch.from_numpy(np.stack(frames))


def read_frames(path: str | Path, times_s: Sequence[float]) -> list[Tensor]:
    """Reads the frames nearest to some times, upright and at full size: each `[h, w, 3]` uint8.

    The times must rise. Times after the end of the file are left out. Raises ValueError as `probe`
    does.
    """
    return [torch.from_numpy(np.array(image)) for image in _images_at(path, list(times_s))]


@dataclass(frozen=True, kw_only=True)
class TimedFrame:
    """A decoded frame and when it is shown, in seconds from the file's first frame."""

    time_s: float
    frame: av.VideoFrame
    """As the file stores it: neither turned nor stretched."""
    fps: float
    """The number of frames a second of its file."""
    codec: str
    """FFmpeg's name of what decoded it."""
    tags: Tags
    """What its colours mean."""
    pixel_ratio: Fraction | None
    """The width of a pixel over its height; None where the file does not say."""

    def upright(self) -> np.ndarray:
        """The frame in RGB, upright and with square pixels: `[h, w, 3]` uint8."""
        pixels = tagged_to_rgb(self.frame, self.tags)
        ratio = self.pixel_ratio
        if (not ratio or ratio == 1) and not self.frame.rotation:
            return pixels
        return np.asarray(_turned(pixels, ratio, self.frame.rotation))


def timed_frames(path: str | Path, start_s: float = 0.0) -> Iterator[TimedFrame]:
    """Yields the frames of a clip in turn, from a frame at or before `start_s` on.

    A frame is held until it is let go. Raises ValueError as `probe` does, and also in the middle of
    a clip that is damaged there.
    """
    with _opened(path) as (container, stream):
        # Frames may outlive the container, whose stream may then no longer be asked.
        facts = {"fps": _rate(stream), "codec": stream.codec_context.name}
        for time_s, frame in _frames_from(path, container, stream, start_s):
            yield TimedFrame(
                time_s=time_s,
                frame=frame,
                tags=read_tags(frame, stream),
                pixel_ratio=stream.sample_aspect_ratio,
                **facts,
            )


def count_frames(path: str | Path) -> int:
    """Returns how many frames a clip holds, counted without decoding them.

    Fewer may be decoded where the file is damaged. Raises ValueError as `probe` does.
    """
    with _opened(path) as (container, stream):
        count = sum(1 for packet in container.demux(stream) if packet.size)
    if not count:
        raise ValueError(_no_frames(path))
    return count


def stream_frames(path: str | Path, wanted: Container[int]) -> Iterator[Tensor | None]:
    """Yields each frame of a clip in turn, upright and at full size: `[h, w, 3]` uint8.

    For a frame whose number, counted from 0, is not in `wanted`, it yields None, which saves the
    conversion. One frame is held at a time. Raises ValueError as `probe` does, and also in the
    middle of a clip that is damaged there.
    """
    with _opened(path) as (container, stream):
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                yield torch.from_numpy(np.array(_upright(frame, stream)))
            else:
                yield None


def write_clip(path: str | Path, frames: Tensor, fps: float) -> Path:
    """Writes a clip `[F, H, W, 3]` uint8 as an H.264 MP4, and returns its path.

    Its pixels are limited-range BT.709 (yuv420p), and file and stream say so. The file appears
    whole or not at all, and the same frames give the same file. Missing folders are made. Raises
    ValueError for another shape or type, and for an odd height or width.
    """
    if (
        frames.ndim != 4
        or frames.shape[-1] != 3
        or frames.dtype != torch.uint8
        or 0 in frames.shape
    ):
        raise ValueError(
            f"frames were {list(frames.shape)} {frames.dtype}; needs [F, H, W, 3] uint8: scale "
            "values to 0..255 first."
        )
    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise ValueError(
            f"frames were {height} x {width} pixels; H.264 needs even sides: crop one."
        )
    return write_frames(path, frames.cpu(), fps)


def write_frames(path: str | Path, frames: Iterable[Tensor], fps: float | Fraction) -> Path:
    """Writes frames `[H, W, 3]` uint8 one by one, as `write_clip` does with a whole clip.

    The sides are even, and those of the first frame. Raises ValueError where there is none.
    """
    with written_aside(path) as partial, av.open(_told(partial), "w", format="mp4") as container:
        rate = Fraction(fps).limit_denominator(1001)
        options = {"crf": _QUALITY_CRF, "x264-params": _X264_PARAMS}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.pix_fmt, is_open = "yuv420p", False
        tag_bt709(stream)
        for each in frames:
            pixels = each.numpy()
            if not is_open:
                stream.height, stream.width = pixels.shape[:2]
                is_open = True
            container.mux(stream.encode(to_frame(pixels)))
        if not is_open:
            raise ValueError(f"clip {path} would have no frames; needs at least one.")
        container.mux(stream.encode())
    return Path(path)


def check_num_frames(num_frames: int) -> None:
    """Raises ValueError unless `num_frames` is 8n + 1, as the video VAE needs it."""
    if num_frames < 1 or num_frames % LTX_SCALE_FACTORS.time != 1:
        raise ValueError(f"num_frames was {num_frames}; needs 8n + 1, for example 17, 49 or 121.")


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens a file for reading and gives its container and its video stream.

    Of several it is the one that FFmpeg takes by default, which is no cover picture.

    Raises ValueError for whatever FFmpeg cannot read or convert, inside the block too.
    """
    if not Path(path).is_file():
        raise ValueError(f"clip {path} is not a file; needs a video: check the path.")
    try:
        with av.open(_told(path)) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise ValueError(
                    f"clip {path} has no video stream; needs a video: leave it out or export it "
                    "again."
                )
            stream.thread_type = "AUTO"
            yield container, stream
    except av.FFmpegError as error:
        raise ValueError(
            f"clip {path} could not be read ({_reason(path, error)}); needs a sound video file: "
            "export or download it again."
        ) from error
    except ColorError as error:
        raise ValueError(f"clip {path} {error}") from error


def _reason(path: str | Path, error: av.FFmpegError) -> str:
    return why_unreadable(path, OSError(error.strerror))


def _told(path: str | Path) -> str:
    """A file's name as FFmpeg takes it, which reads `12:30.mp4` as an address of the network."""
    return str(Path(path).absolute())


def _images_at(path: str | Path, times: list[float]) -> Iterator[Image.Image]:
    """Yields the nearest frame for each of the rising `times`, until the file ends."""
    with _opened(path) as (container, stream):
        frames = _frames_from(path, container, stream, times[0])
        before = next(frames, None)
        if before is None:
            raise ValueError(_no_frames(path))
        after = next(frames, None)
        image, image_time = None, None
        for time in times:
            while after is not None and after[0] <= time:
                before, after = after, next(frames, None)
            # The last frame of a file is shown for as long as the others.
            if after is None and time >= before[0] + 1 / _rate(stream) - 1e-6:
                return
            is_after = after is not None and after[0] - time < time - before[0]
            nearest_time, nearest = after if is_after else before
            if nearest_time != image_time:
                image, image_time = _upright(nearest, stream), nearest_time
            yield image


def _frames_from(
    path: str | Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    start_s: float,
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yields (seconds from the file's first frame, frame), beginning at or before `start_s`."""
    frames = _timed(container, stream)
    first = next(frames, None)
    if first is None:
        return
    origin = first[0]
    if start_s < _MIN_SEEK_S:
        found = chain([first], frames)
    else:
        found = _sought(container, stream, origin, start_s)
    if found is not None:
        yield from ((time - origin, frame) for time, frame in found)
        return
    # What has been read is not to be had again by seeking in all files: open this one anew.
    with _opened(path) as (container, stream):
        yield from ((time - origin, frame) for time, frame in _timed(container, stream))


def _sought(
    container: av.container.InputContainer, stream: av.VideoStream, origin: float, start_s: float
) -> Iterator[tuple[float, av.VideoFrame]] | None:
    """Returns the frames from `start_s` or a little before on, None where a seek finds none."""
    # Seeking half a second earlier covers files whose index is a little off.
    try:
        container.seek(int((origin + start_s - 0.5) / stream.time_base), stream=stream)
        frames = _timed(container, stream)
        first = next(frames, None)
    except av.FFmpegError:
        # Raw streams and some damaged indices.
        return None
    is_early = first is not None and first[0] - origin <= start_s + 1e-6
    return chain([first], frames) if is_early else None


def _timed(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yields (seconds, frame). The times rise: recordings that were joined begin anew within."""
    before, shift = None, 0.0
    for index, frame in enumerate(container.decode(stream)):
        # Frames of raw streams have no timestamps.
        time = frame.time if frame.time is not None else index / _rate(stream)
        if before is not None and time + shift < before:
            shift = before + 1 / _rate(stream) - time
        before = time + shift
        yield before, frame


def _upright(frame: av.VideoFrame, stream: av.VideoStream) -> Image.Image:
    """Returns the frame as it is meant to be seen: upright, and with square pixels."""
    pixels = tagged_to_rgb(frame, read_tags(frame, stream))
    return _turned(pixels, stream.sample_aspect_ratio, frame.rotation)


def _turned(pixels: np.ndarray, ratio: Fraction | None, rotation_deg: int) -> Image.Image:
    image = Image.fromarray(pixels)
    if ratio and ratio != 1:
        image = image.resize((max(1, round(image.width * ratio)), image.height))
    return image.rotate(rotation_deg, expand=True) if rotation_deg else image


def _cover(image: Image.Image, height: int, width: int) -> Image.Image:
    box = fitted_box((image.height, image.width), (height, width), Fit.CROP)
    resized = image.resize((box.width, box.height), Image.Resampling.BICUBIC)
    return resized.crop((-box.left, -box.top, width - box.left, height - box.top))


def _rate(stream: av.VideoStream) -> float:
    return float(stream.average_rate or stream.base_rate or 24)


def _duration_s(
    path: str | Path, container: av.container.InputContainer, stream: av.VideoStream
) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        # Matroska says when the last frame ends, and not how long it is from the first one.
        is_end = "matroska" in container.format.name
        return (container.duration - is_end * (container.start_time or 0)) / av.time_base
    packets = [packet for packet in container.demux(stream) if packet.pts is not None]
    if not packets:
        # A raw stream.
        return count_frames(path) / _rate(stream)
    last = max(packet.pts + (packet.duration or 0) for packet in packets)
    return float((last - (stream.start_time or 0)) * stream.time_base)


def _no_frames(path: str | Path) -> str:
    return f"clip {path} has no frames; needs a sound video file: export or download it again."
