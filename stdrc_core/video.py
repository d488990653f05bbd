"""Clips in and out: read at a wanted rate and size, write H.264, lay clips out on a contact sheet.

A clip is `[F, H, W, 3]` uint8 RGB. Times are seconds from the first frame of the file. Rotation
metadata (phones) and non-square pixels are honoured, so that faces stand upright and undistorted.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .files import written_aside
from .method.grid import LTX_SCALE_FACTORS
from .method.reference import Fit, fitted_box

# Seeking lands on the keyframe before; below this it is cheaper and safer to read from the start.
_MIN_SEEK_S = 4.0
# x264's constant rate factor: visually lossless for review and for tests.
_QUALITY_CRF = "15"
# With its macroblock tree the same frames are now and then another file, in widths that are no
# multiple of 128 (measured with PyAV 18.1; not without it, nor without x264's assembler).
_X264_PARAMS = "mbtree=0"
_LABEL_PX = 14


class ClipTooShortError(ValueError):
    """The clip is sound and ends before the frames that were asked for."""


@dataclass(frozen=True, kw_only=True)
class ClipInfo:
    """What a file holds, upright: seconds, frames per second, pixels."""

    duration_s: float
    fps: float
    height: int
    width: int
    # Degrees counter-clockwise that the stored frames are turned by for showing.
    rotation_deg: int


def probe(path: str | Path) -> ClipInfo:
    """Reads the head of a clip. Raises ValueError when the file is unreadable or has no video."""
    with _opened(path) as (container, stream):
        frame = next(container.decode(stream), None)
        if frame is None:
            raise ValueError(_no_frames(path))
        upright = _upright(frame, stream)
        return ClipInfo(
            duration_s=_duration_s(container, stream),
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
    """`num_frames` frames at `fps` from `start_s` on: `[num_frames, height, width, 3]` uint8.

    Each is the frame nearest in time, scaled to cover `height` x `width` pixels (aspect kept) and
    cropped about its middle. Raises ValueError for a number of frames that is not 8n + 1, and when
    the file is unreadable, has no video or ends too early.
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
    """The frames nearest to the given rising times, upright and at full size: `[h, w, 3]` uint8.

    Times after the end of the file are left out. Raises ValueError as `probe`.
    """
    return [torch.from_numpy(np.array(image)) for image in _images_at(path, list(times_s))]


def count_frames(path: str | Path) -> int:
    """How many frames a clip holds by its index, without decoding them: a damaged file may give
    fewer. Raises ValueError as `probe`, and where it holds none."""
    with _opened(path) as (container, stream):
        count = sum(1 for packet in container.demux(stream) if packet.size)
    if not count:
        raise ValueError(_no_frames(path))
    return count


def stream_frames(path: str | Path, wanted: Container[int]) -> Iterator[Tensor | None]:
    """Each frame of a clip in turn, upright and at full size: `[h, w, 3]` uint8, or None where its
    number (from 0) is not `wanted`, which saves its conversion. One frame is held at a time.

    Raises ValueError as `probe`, in the midst of a clip too where it is damaged there.
    """
    with _opened(path) as (container, stream):
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                yield torch.from_numpy(np.array(_upright(frame, stream)))
            else:
                yield None


def write_clip(path: str | Path, frames: Tensor, fps: float) -> Path:
    """Writes `[F, H, W, 3]` uint8 as an H.264 MP4 (yuv420p); the file appears whole or not at all,
    and the same frames are the same file.

    Missing folders are made. Raises ValueError for another shape or type, or odd sizes.
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
    with written_aside(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        rate = Fraction(fps).limit_denominator(1001)
        options = {"crf": _QUALITY_CRF, "x264-params": _X264_PARAMS}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for pixels in frames.cpu().numpy():
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Path(path)


def contact_sheet(
    path: str | Path,
    clips: Sequence[Tensor],
    *,
    labels: Sequence[str] = (),
    num_columns: int = 6,
    tile_height: int = 160,
) -> Path:
    """A PNG with a row for each clip `[F, H, W, 3]` uint8: `num_columns` frames evenly over time.

    A photo is a clip of one frame. `labels` stand over the rows. Raises ValueError without clips.
    """
    if not clips:
        raise ValueError("clips were empty; a contact sheet needs at least one clip.")
    rows = [_tiles(clip, num_columns, tile_height) for clip in clips]
    sheet_width = max(sum(tile.width for tile in row) for row in rows)
    row_height = tile_height + (_LABEL_PX if labels else 0)
    sheet = Image.new("RGB", (sheet_width, row_height * len(rows)))
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        if i < len(labels):
            draw.text((2, i * row_height), labels[i])
        left = 0
        for tile in row:
            sheet.paste(tile, (left, (i + 1) * row_height - tile_height))
            left += tile.width
    with written_aside(path) as partial:
        sheet.save(partial, format="PNG")
    return Path(path)


def check_num_frames(num_frames: int) -> None:
    """Raises ValueError unless `num_frames` is 8n + 1, which the video VAE takes."""
    if num_frames < 1 or num_frames % LTX_SCALE_FACTORS.time != 1:
        raise ValueError(f"num_frames was {num_frames}; needs 8n + 1, for example 17, 49 or 121.")


def _tiles(clip: Tensor, num_columns: int, height: int) -> list[Image.Image]:
    num_frames = clip.shape[0]
    indices = np.linspace(0, num_frames - 1, min(num_columns, num_frames)).round().astype(int)
    width = max(1, round(clip.shape[2] * height / clip.shape[1]))
    images = (Image.fromarray(clip[int(i)].cpu().numpy()) for i in indices)
    return [image.resize((width, height), Image.Resampling.BICUBIC) for image in images]


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container and its first video stream; whatever FFmpeg cannot read is a ValueError."""
    if not Path(path).is_file():
        raise ValueError(f"clip {path} is not a file; needs a video: check the path.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(
                    f"clip {path} has no video stream; needs a video: leave it out or export it "
                    "again."
                )
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except av.FFmpegError as error:
        raise ValueError(
            f"clip {path} could not be read ({error.strerror}); needs a sound video file: export "
            "or download it again."
        ) from error


def _images_at(path: str | Path, times: list[float]) -> Iterator[Image.Image]:
    """The nearest frame for each of the rising `times`, until the file ends."""
    with _opened(path) as (container, stream):
        frames = _frames_from(container, stream, times[0])
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
    container: av.container.InputContainer, stream: av.VideoStream, start_s: float
) -> Iterator[tuple[float, av.VideoFrame]]:
    """(seconds from the file's first frame, frame), beginning at or before `start_s`."""
    first = next(_timed(container, stream), None)
    if first is None:
        return
    origin, is_first = first[0], True
    if start_s >= _MIN_SEEK_S:
        # Half a second of slack covers files whose index is a little off.
        target = int((origin + start_s - 0.5) / stream.time_base)
        container.seek(target, stream=stream)
    else:
        container.seek(int(origin / stream.time_base), stream=stream)
    for time, frame in _timed(container, stream):
        if is_first and time - origin > start_s + 1e-6 and start_s > 0:
            # The seek overshot: read from the start instead.
            container.seek(int(origin / stream.time_base), stream=stream)
            yield from ((later - origin, each) for later, each in _timed(container, stream))
            return
        is_first = False
        yield time - origin, frame


def _timed(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[tuple[float, av.VideoFrame]]:
    for index, frame in enumerate(container.decode(stream)):
        # Raw streams carry no timestamps.
        yield (frame.time if frame.time is not None else index / _rate(stream)), frame


def _upright(frame: av.VideoFrame, stream: av.VideoStream) -> Image.Image:
    """The frame as it is meant to be seen, pixels square."""
    image = frame.to_image()
    ratio = stream.sample_aspect_ratio
    if ratio and ratio != 1:
        image = image.resize((max(1, round(image.width * ratio)), image.height))
    turned = frame.rotation
    return image.rotate(turned, expand=True) if turned else image


def _cover(image: Image.Image, height: int, width: int) -> Image.Image:
    box = fitted_box((image.height, image.width), (height, width), Fit.CROP)
    resized = image.resize((box.width, box.height), Image.Resampling.BICUBIC)
    return resized.crop((-box.left, -box.top, width - box.left, height - box.top))


def _rate(stream: av.VideoStream) -> float:
    return float(stream.average_rate or stream.base_rate or 24)


def _duration_s(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return container.duration / av.time_base
    last = max((p.pts or 0) + (p.duration or 0) for p in container.demux(stream))
    return float((last - (stream.start_time or 0)) * stream.time_base)


def _no_frames(path: str | Path) -> str:
    return f"clip {path} has no frames; needs a sound video file: export or download it again."
