"""Makes the files of a clip: its video, its references, and its strip on the page."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image

from ...faces.finder import FaceFinder
from ...files import written_aside
from ...video import read_frames
from ..references import crop_face
from .cut import cut_clip, plan_cut
from .plan import PlannedClip
from .record_store import RecordStore
from .references import Candidate
from .scan import Scan

CLIPS, REFERENCES, STRIPS = "clips", "references", "page"
_NUM_STRIP_FRAMES, _STRIP_PX, _GAP_PX = 4, 88, 6
_JPEG_QUALITY = 82
# What FFmpeg says of a place that takes no more; all else is the video's fault.
_WRITING_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)


@dataclass(frozen=True, kw_only=True)
class ClipMaker:
    """Makes the files of clips in a data set's folder."""

    out: Path
    records: RecordStore
    videos: Mapping[str, Path]
    """The path of each video by its key."""
    scans: Mapping[str, Scan]
    finder: FaceFinder

    def asked(self, clip: PlannedClip) -> dict[str, Any]:
        """What a clip's files are made of."""
        window = clip.window
        scan = self.scans[window.footage]
        cut = plan_cut(window, scan)
        return {
            "window": [round(window.start_s, 6), round(window.end_s, 6)],
            "copy_from_s": cut.copy_from_s,
            "crop": scan.shots[window.shot].crop,
            "references": [[_told(each) for each in own] for own in clip.references],
        }

    def made(self, clip: PlannedClip) -> dict[str, Any] | None:
        """What `make` made of the clip, or None."""
        return self.records.read(clip.window.key, self.asked(clip))

    def make(self, clip: PlannedClip) -> None:
        """Makes the files; what goes wrong with the video is kept as the clip's problem.

        Raises OSError where files cannot be written.
        """
        key, asked = clip.window.key, self.asked(clip)
        try:
            made = self._make(clip)
        except ValueError as error:
            made = {"problem": str(error)}
        except av.FFmpegError as error:
            if error.errno in _WRITING_ERRORS:
                raise OSError(error.errno, os.strerror(error.errno), key) from error
            made = {"problem": str(error)}
        self.records.write(key, asked, made)

    def _make(self, clip: PlannedClip) -> dict[str, Any]:
        window = clip.window
        video, scan = self.videos[window.footage], self.scans[window.footage]
        planned = plan_cut(window, scan)
        cut = cut_clip(video, self.out / CLIPS / window.key, window, planned, scan)
        shown = [
            [(path, each) for each in own if (path := self._reference(each)) is not None]
            for own in clip.references
        ]
        references = [[path for path, _ in own] for own in shown]
        shot = scan.shots[window.shot]
        strip = f"{STRIPS}/{window.key}.jpg"
        size = self._write_strip(clip, references, self.out / strip)
        return {
            "video": f"{CLIPS}/{window.key}{cut.suffix}",
            "start_s": round(cut.start_s(window), 6),
            "copied": cut.copy_from_s is not None,
            "references": references,
            "origins": [[_origin(face) for _, face in own] for own in shown],
            "shot": [window.footage, round(shot.start_s, 6), round(shot.end_s, 6)],
            "strip": strip,
            "strip_px": size,
        }

    def _reference(self, face: Candidate) -> str | None:
        """Writes a reference; returns its path in the data set, or None where it shows no face."""
        if face.photo is not None:
            digest = hashlib.blake2b(face.photo.read_bytes(), digest_size=6).hexdigest()
            name = f"{REFERENCES}/photos/{digest}{face.photo.suffix.lower()}"
            if not (self.out / name).is_file():
                with written_aside(self.out / name) as partial:
                    shutil.copyfile(face.photo, partial)
            return name
        place = "_".join(str(round(x)) for x in face.box[:2])
        name = f"{REFERENCES}/{face.footage}/{round(1000 * face.time_s):08d}_{place}.png"
        if (self.out / name).is_file():
            return name
        frames = read_frames(self.videos[face.footage], [face.time_s])
        if not frames:
            return None
        pixels = crop_face(frames[0], face.box)
        if not self.finder.find(pixels[None])[0]:
            return None
        with written_aside(self.out / name) as partial:
            Image.fromarray(pixels.numpy()).save(partial, format="PNG")
        return name

    def _write_strip(
        self, clip: PlannedClip, references: Sequence[Sequence[str]], path: Path
    ) -> tuple[int, int]:
        """Writes the references, a gap, and frames of the clip side by side; returns the size."""
        window = clip.window
        photos = [Image.open(self.out / name) for own in references for name in own]
        span = window.end_s - window.start_s
        times = [
            window.start_s + (i + 0.5) * span / _NUM_STRIP_FRAMES for i in range(_NUM_STRIP_FRAMES)
        ]
        frames = read_frames(self.videos[window.footage], times)
        crop = self.scans[window.footage].shots[window.shot].crop
        pictures = [Image.fromarray(_cropped(frame, crop)) for frame in frames]
        tiles = [_tile(each) for each in (*photos, *pictures)]
        width = sum(tile.width for tile in tiles) + _GAP_PX
        strip = Image.new("RGB", (width, _STRIP_PX), (128, 128, 128))
        left = 0
        for i, tile in enumerate(tiles):
            left += _GAP_PX if i == len(photos) else 0
            strip.paste(tile, (left, 0))
            left += tile.width
        with written_aside(path) as partial:
            strip.save(partial, format="JPEG", quality=_JPEG_QUALITY)
        return strip.size


def _told(face: Candidate) -> list[Any]:
    """What tells a reference from all others."""
    if face.photo is not None:
        return [str(face.photo)]
    return [face.footage, round(face.time_s, 6), [round(x, 3) for x in face.box]]


def _origin(face: Candidate) -> list[Any] | None:
    """The moment that a reference is cut out of, by the footage's key; None for a photo."""
    return None if face.photo is not None else [face.footage, round(face.time_s, 6)]


def _cropped(frame: torch.Tensor, crop: Sequence[int] | None) -> np.ndarray:
    pixels = frame.numpy()
    if crop is None:
        return pixels
    left, top, right, bottom = crop
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def _tile(image: Image.Image) -> Image.Image:
    width = max(1, round(image.width * _STRIP_PX / image.height))
    return image.convert("RGB").resize((width, _STRIP_PX), Image.Resampling.BOX)
