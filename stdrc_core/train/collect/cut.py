"""Cuts clips out of videos: packets are copied as they are where a keyframe allows it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import torch

from ...files import written_aside
from ...video import TimedFrame, timed_frames, write_frames
from .scan import Scan
from .windows import Window

# The codecs that are copied, and the format of the clip's file; others are encoded anew.
_FORMATS = {
    "h264": ("mp4", ".mp4"),
    "hevc": ("mp4", ".mp4"),
    "av1": ("mp4", ".mp4"),
    "libdav1d": ("mp4", ".mp4"),
    "mpeg4": ("mp4", ".mp4"),
    "vp8": ("webm", ".webm"),
    "vp9": ("webm", ".webm"),
    "libvpx-vp9": ("webm", ".webm"),
}
# A clip may begin by so much before its window, in its own shot, so that it begins at a keyframe.
_MOST_LEAD_S = 2.0
_SLACK_S = 1e-3
# Transport streams have no index, and a seek in them may land too late.
_SEEK_EARLIER_S = 2.0
# A copied frame differs from its original by less than this on average: containers may tell of
# another range of levels.
_SAME_LEVELS = 3.0
# By so many places at most H.264 and its successors store a picture before its turn.
_MOST_REORDERED = 16


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How a window is to be cut."""

    suffix: str
    copy_from_s: float | None
    """The keyframe that the copy begins at; None where the clip is encoded anew."""

    def start_s(self, window: Window) -> float:
        """When the window begins in the clip, in seconds."""
        return 0.0 if self.copy_from_s is None else max(0.0, window.start_s - self.copy_from_s)


_ENCODED = Cut(suffix=".mp4", copy_from_s=None)


def plan_cut(window: Window, scan: Scan) -> Cut:
    """How to cut a window of a scanned video.

    A picture with letterbox bars is encoded anew without them.
    """
    shot = scan.shots[window.shot]
    begin = [
        time_s
        for time_s in scan.keyframes_s
        if max(shot.start_s, window.start_s - _MOST_LEAD_S) - _SLACK_S
        <= time_s
        <= window.start_s + _SLACK_S
    ]
    if shot.crop is not None or not begin or scan.codec not in _FORMATS:
        return _ENCODED
    return Cut(suffix=_FORMATS[scan.codec][1], copy_from_s=begin[-1])


def cut_clip(video: Path, stem: Path, window: Window, cut: Cut, scan: Scan) -> Cut:
    """Writes the clip of a window to `stem` with the cut's suffix; returns how it was cut.

    Packets that do not say when they are shown, as in some AVI files, or say it twice, as in
    recordings that were joined, cannot be copied, and the clip is encoded. Raises ValueError or
    av.FFmpegError where the video cannot be read or the clip cannot be written.
    """
    if cut.copy_from_s is not None:
        form, suffix = _FORMATS[scan.codec]
        clip = stem.with_name(stem.name + suffix)
        try:
            _copy(video, clip, cut.copy_from_s, window.end_s, form)
            if not _begins_as(clip, video, cut.copy_from_s):
                clip.unlink()
                cut = _ENCODED
        except _UntimedError:
            cut = _ENCODED
    if cut.copy_from_s is None:
        clip = stem.with_name(stem.name + _ENCODED.suffix)
        crop = scan.shots[window.shot].crop
        _encode(video, clip, window.start_s, window.end_s, scan.fps, crop)
    return cut


def _begins_as(clip: Path, video: Path, start_s: float) -> bool:
    """Whether a clip's first frame is the one that the video shows at `start_s`."""
    wanted = (each for each in timed_frames(video, start_s) if each.time_s >= start_s - _SLACK_S)
    both = [
        None if each is None else each.frame.to_ndarray(format="gray").astype(float)
        for each in (next(timed_frames(clip), None), next(wanted, None))
    ]
    if any(each is None for each in both) or both[0].shape != both[1].shape:
        return False
    return float(abs(both[0] - both[1]).mean()) < _SAME_LEVELS


class _UntimedError(Exception):
    """The packets do not say when each of them is shown."""


def _copy(video: Path, clip: Path, start_s: float, end_s: float, form: str) -> None:
    """Copies the packets from the keyframe at `start_s` to those that `end_s` needs."""
    with av.open(str(video.absolute())) as source, written_aside(clip) as partial:
        stream = source.streams.best("video")
        # Times count from the first frame that is shown, as `timed_frames` counts them.
        first = next(source.decode(stream), None)
        if first is None or first.pts is None or source.format.name == "avi":
            # AVI stores packets without times.
            raise _UntimedError
        start, end = (first.pts + round(time_s / stream.time_base) for time_s in (start_s, end_s))
        packets = _packets(source, stream, first.pts, start, end)
        times = sorted(packet.pts for packet in packets)
        # Some files have no decoding times, and those of others begin before the clip.
        early = max(time - packet.pts for time, packet in zip(times, packets, strict=True))
        # Bitexact files hold no random ids.
        options = {"fflags": "+bitexact"}
        with av.open(str(partial.absolute()), "w", format=form, options=options) as target:
            copy = target.add_stream_from_template(stream)
            copy.metadata.clear()
            for time, packet in zip(times, packets, strict=True):
                packet.pts, packet.dts = packet.pts - start, time - early - start
                packet.stream = copy
                target.mux(packet)


def _packets(
    source: av.container.InputContainer, stream: av.VideoStream, origin: int, start: int, end: int
) -> list[av.Packet]:
    """The packets from the keyframe at `start` on, in their order, to the last one before `end`.

    Pictures that are shown before the keyframe, though they are stored after it, are left: they
    lean on what is not in the clip.
    """
    source.seek(max(origin, start - round(_SEEK_EARLIER_S / stream.time_base)), stream=stream)
    kept: list[av.Packet] = []
    num_later = 0
    for packet in source.demux(stream):
        if not packet.size:
            continue
        if packet.pts is None:
            raise _UntimedError
        is_begin = packet.is_keyframe and abs(packet.pts - start) <= 1
        if (kept and packet.pts >= start) or is_begin:
            kept.append(packet)
        num_later += packet.pts >= end
        if num_later > _MOST_REORDERED:
            break
    while kept and kept[-1].pts >= end:
        kept.pop()
    if not kept or len({packet.pts for packet in kept}) < len(kept):
        raise _UntimedError
    return kept


def _encode(
    video: Path,
    clip: Path,
    start_s: float,
    end_s: float,
    fps: float,
    crop: Sequence[int] | None,
) -> None:
    """Encodes the frames from `start_s` on and before `end_s`, inside `crop`, at `fps`."""

    def frames() -> Iterator[torch.Tensor]:
        count, last = 0, None
        wanted = math.ceil((end_s - start_s) * fps - 1e-6)
        # What comes after the window may be another shot.
        inside = itertools.takewhile(
            lambda each: each.time_s < end_s - 1e-6, timed_frames(video, start_s)
        )
        for each in inside:
            # The nearest frame for each tick of an even clock: footage may have an uneven one.
            while count < wanted and last is not None:
                tick_s = start_s + count / fps
                if each.time_s < tick_s - 1e-6:
                    break
                nearest = each if each.time_s - tick_s < tick_s - last.time_s else last
                yield _pixels(nearest, crop)
                count += 1
            if count >= wanted:
                return
            last = each
        while count < wanted and last is not None:
            yield _pixels(last, crop)
            count += 1

    write_frames(clip, frames(), fps)


def _pixels(frame: TimedFrame, crop: Sequence[int] | None) -> torch.Tensor:
    """The upright frame inside `crop`, with even sides: `[h, w, 3]` uint8."""
    image = frame.upright()
    if crop is not None:
        left, top, right, bottom = crop
        image = image[top:bottom, left:right]
    height, width = image.shape[:2]
    return torch.from_numpy(image[: height - height % 2, : width - width % 2].copy())
