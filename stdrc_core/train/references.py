"""Finds a clip's reference.

It is the photo that the dataset gives. Without one it is a face cut out of another clip of the same
person, or else of the same clip outside the training window. It is never from inside the window,
where the model would find pose, light and clothes of the very frames that it is to make.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..faces.finder import FaceFinder
from ..faces.similarity import largest_faces
from ..method.reference import fitted_box
from ..photo_file import load_opaque_photo
from ..uint8 import to_uint8
from ..video import probe, read_frames
from .dataset_entry import Entry, Origin, Stretch

# How many other clips of a person, and how many frames of each, are searched for a face.
MAX_OTHER_CLIPS = 3
NUM_FRAMES_TRIED = 5
# What a crop has around the face's box on each side, as a share of the box's larger side: room for
# hair and chin.
CROP_MARGIN = 0.6
# How many times larger than the target frame a photo is kept at most, so that the augmentation's
# crop loses no detail.
MAX_OVERSIZE = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """A photo or crop that shows a face."""

    pixels: Tensor
    """`[h, w, 3]` uint8."""
    e_ref: Tensor
    """Embedding of the largest face in `pixels`, `[D]` of length 1."""
    source: str
    """Where the pixels are from, in words."""
    origin: Origin
    """The same, to tell photos apart and from the clips that they are cut out of."""


# The pixels of a face that may be a reference, where they are from in words, and their origin.
_Candidate = tuple[Tensor, str, Origin]


def find_references(
    entry: Entry,
    others: Mapping[str, Sequence[Entry]],
    finder: FaceFinder,
    *,
    window_s: float,
    size: tuple[int, int],
) -> Iterator[Reference]:
    """Finds references for `entry`, the best kind first; there are none when nothing shows a face.

    `others` are all entries by person, `window_s` is the length of a training clip in seconds, and
    `size` the target frame's (height, width) in pixels. Where a photo is given, nothing else is
    tried in its place. Raises ValueError when the photo cannot be read; other clips that cannot be
    read are passed over.
    """
    if entry.reference is not None:
        yield from given_reference(entry.reference, finder, size, *entry.origins[:1])
        return
    yield from _embedded(_known_faces(entry), finder, size)
    yield from _embedded(_other_clips(entry, others, finder, window_s), finder, size)
    yield from _embedded(_same_clip(entry, finder, window_s), finder, size)


def given_reference(
    photo: Path, finder: FaceFinder, size: tuple[int, int], origin: Origin | None = None
) -> Iterator[Reference]:
    """The reference that a photo is; there is none where it shows no face.

    `origin` is the moment that the photo is cut out of, where that is known. Raises ValueError when
    the photo cannot be read.
    """
    # Transparent parts become black, as is the padding around the photo.
    (pixels,) = to_uint8(load_opaque_photo(photo))
    where = f"photo {photo.name}", origin or Origin(str(photo.resolve()))
    return _embedded([(pixels, *where)], finder, size)


def own_shot(entry: Entry, window_s: float) -> Stretch:
    """The part of the source video that no other photo of the person may be from, if the clip is
    shown it: its shot, or where the dataset does not say which that is, its training window."""
    return entry.shot or _window(entry, window_s)


def crop_face(frame: Tensor, box: Sequence[float]) -> Tensor:
    """The part of `frame` `[h, w, 3]` with the face in `box` and a margin around it.

    `box` is left, top, right and bottom in pixels.
    """
    left, top, right, bottom = box
    margin = CROP_MARGIN * max(right - left, bottom - top)
    height, width = frame.shape[:2]
    rows = slice(max(0, int(top - margin)), max(1, min(height, round(bottom + margin))))
    columns = slice(max(0, int(left - margin)), max(1, min(width, round(right + margin))))
    return frame[rows, columns].clone()


def _embedded(
    candidates: Iterable[_Candidate],
    finder: FaceFinder,
    size: tuple[int, int],
) -> Iterator[Reference]:
    """The candidates that show a face, not larger than they need to be."""
    for pixels, source, origin in candidates:
        if 0 in pixels.shape:
            continue
        kept = _at_most(pixels, (MAX_OVERSIZE * size[0], MAX_OVERSIZE * size[1]))
        (face,) = largest_faces(kept[None], finder)
        if face is not None:
            yield Reference(pixels=kept, e_ref=face.embedding, source=source, origin=origin)


def _known_faces(entry: Entry) -> Iterator[_Candidate]:
    """Crops of the faces that the dataset points at, and where they are from."""
    for known in entry.faces:
        for frame in _readable(known.video, [known.time_s]):
            height, width = frame.shape[:2]
            box = [side * n for side, n in zip(known.box, (width, height) * 2, strict=True)]
            source = f"face at {known.time_s:.3f} s of {known.video.name}"
            yield crop_face(frame, box), source, known.origin


def _other_clips(
    entry: Entry, others: Mapping[str, Sequence[Entry]], finder: FaceFinder, window_s: float
) -> Iterator[_Candidate]:
    """Crops of faces in other clips of the person, and where they are from."""
    if entry.identity is None:
        return
    clips = others[entry.identity]
    place = next(i for i, other in enumerate(clips) if other.id == entry.id)
    # Each clip begins with those that follow it, so that a person's clips do not all share one
    # reference.
    usable = [each for each in (*clips[place + 1 :], *clips[:place]) if each.problem is None]
    window = _window(entry, window_s)
    for other in usable[:MAX_OTHER_CLIPS]:
        spread = _spread(other.start_s, other.start_s + window_s)
        # The other clip may hold moments of the training window too.
        times = [time for time in spread if not window.holds(_moment(other, time))]
        frames = list(zip(times, _readable(other.video, times), strict=False))
        yield from _crops(other, frames, finder, "clip")


def _same_clip(entry: Entry, finder: FaceFinder, window_s: float) -> Iterator[_Candidate]:
    """Crops of faces in the entry's own clip outside its window, and where they are from."""
    duration_s, window = probe(entry.video).duration_s, _window(entry, window_s)

    def distance_s(time: float) -> float:
        return window.distance_s(entry.footage_s + time)

    times = [*_spread(0, entry.start_s), *_spread(entry.start_s + window_s, duration_s)]
    outside = [time for time in times if distance_s(time) > 0]
    frames = list(zip(outside, _readable(entry.video, outside), strict=False))
    # The farther a frame is from the window, the less it is like the window's frames.
    frames.sort(key=lambda frame: -distance_s(frame[0]))
    yield from _crops(entry, frames, finder, "same clip")


def _crops(
    entry: Entry, frames: list[tuple[float, Tensor]], finder: FaceFinder, kind: str
) -> Iterator[_Candidate]:
    """Crops of the largest face of each frame of the entry's video that shows one."""
    for time, frame in frames:
        (face,) = largest_faces(frame[None], finder)
        if face is not None:
            source = f"{kind} at {time:.3f} s of {entry.video.name}"
            yield crop_face(frame, face.face.box.tolist()), source, _moment(entry, time)


def _readable(video: Path, times: list[float]) -> list[Tensor]:
    """The frames at `times` in seconds; none of a clip that cannot be read.

    Such a clip is reported when its own turn comes.
    """
    if not times:
        return []
    try:
        return read_frames(video, times)
    except ValueError:
        return []


def _spread(start_s: float, end_s: float) -> list[float]:
    """Times in seconds, evenly spread inside a stretch; none where it has no length."""
    step = (end_s - start_s) / NUM_FRAMES_TRIED
    return [start_s + (i + 0.5) * step for i in range(NUM_FRAMES_TRIED)] if step > 0 else []


def _footage(entry: Entry) -> str:
    """Name of the source video that the entry's clip is from."""
    return entry.footage or str(entry.video.resolve())


def _moment(entry: Entry, time: float) -> Origin:
    """The moment of the source video that is at a second of the entry's video."""
    return Origin(_footage(entry), round(entry.footage_s + time, 6))


def _window(entry: Entry, window_s: float) -> Stretch:
    """The training window in the source video."""
    start_s = entry.footage_s + entry.start_s
    return Stretch(_footage(entry), start_s, start_s + window_s)


def _at_most(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """`[h, w, 3]` uint8, scaled down where it is larger than `size` (height, width) in pixels."""
    height, width = pixels.shape[:2]
    box = fitted_box((height, width), size)
    if box.height >= height and box.width >= width:
        return pixels.contiguous()
    scaled = F.interpolate(
        pixels.movedim(-1, 0)[None].float(),
        size=(box.height, box.width),
        mode="bicubic",
        antialias=True,
    )
    return scaled[0].clamp(0, 255).round().to(torch.uint8).movedim(0, -1).contiguous()
