"""The files of a scored clip, below OUT/clips.

NAME.jpg               its photo and some of its frames, for the report
NAME.faces.safetensors the embeddings of its photos' faces and its frames' faces
NAME.json              its scores; written last
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..faces.drift import Drift
from ..faces.gallery import GalleryRule
from ..faces.others import Others
from ..files import short_name, write_json, written_aside
from ..text_files import read_json
from .metric import Score
from .pairs import Pair

_JPEG_QUALITY = 82


class Result(BaseModel):
    """One clip's scores by metric, and why others are missing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    video: str
    asked: dict[str, Any]
    """What the scores are of (`asked`); where it has changed, the clip is scored anew."""
    person: str | None = None
    """Who it is, as `Pair.person` has it; None for a clip without a photo and without a name."""
    num_frames: int | None = None
    fps: float | None = None
    height: int | None = None
    width: int | None = None
    scores: dict[str, Score] = {}
    problems: dict[str, str] = {}
    """Metric -> why it is missing, in one sentence; the next run tries it again."""

    @property
    def drift(self) -> Drift | None:
        """Whether the face leaves the photo's; None where no metric told."""
        told = (score.drift for score in self.scores.values())
        return next((each for each in told if each is not None), None)

    @property
    def gallery(self) -> GalleryRule | None:
        """What FaceSim compared the clip with; None for a clip with one photo or none."""
        return None if "gallery" not in self.asked else GalleryRule(self.asked["gallery"])

    @property
    def others(self) -> Others | None:
        """Who else than the scored face was seen in the clip; None where no metric told."""
        told = (score.others for score in self.scores.values())
        return next((each for each in told if each is not None), None)


@dataclass(frozen=True, kw_only=True)
class Store:
    """Reads and writes the results in an evaluation's folder `out`."""

    out: Path

    def read(self, video: str) -> Result | None:
        """The result of a clip; None where there is none. Raises ValueError for a damaged file."""
        path = self._path(video, "json")
        if not path.is_file():
            return None
        try:
            return Result.model_validate_json(path.read_bytes())
        except ValueError as error:
            raise ValueError(
                f"result {path} could not be read; needs a file that an evaluation wrote: delete "
                "it, and the clip is scored again."
            ) from error

    def write(self, result: Result) -> None:
        """Writes the result of a clip."""
        write_json(self._path(result.video, "json"), result.model_dump(mode="json"))

    def strip(self, video: str) -> Path:
        """The path of the clip's picture, whether or not it is there."""
        return self._path(video, "jpg")

    def write_strip(self, video: str, image: Image.Image) -> None:
        """Writes the clip's picture."""
        with written_aside(self.strip(video)) as partial:
            image.save(partial, format="JPEG", quality=_JPEG_QUALITY)

    def write_faces(self, video: str, photo: Tensor, frames: list[Tensor]) -> None:
        """Writes the photo's embedding `[D]`, or those of a gallery `[P, D]`, and those of the
        frames with a face, `[D]` each."""
        stacked = torch.stack(frames) if frames else photo.new_zeros(0, photo.shape[-1])
        with written_aside(self._path(video, "faces.safetensors")) as partial:
            save_file({"photo": photo.contiguous(), "frames": stacked}, partial)

    def read_faces(self, video: str) -> tuple[Tensor, Tensor] | None:
        """The photo's embedding `[D]`, or those of a gallery `[P, D]`, and those of the frames with
        a face `[F, D]`; None where they were not written."""
        path = self._path(video, "faces.safetensors")
        if not path.is_file():
            return None
        tensors = load_file(path)
        return tensors["photo"], tensors["frames"]

    def _path(self, video: str, kind: str) -> Path:
        path = self.out / "clips" / video
        return path.with_name(f"{short_name(path.name)}.{kind}")


def asked(videos: Path, pair: Pair, rule: GalleryRule) -> dict[str, Any]:
    """What a clip's scores are of: its prompt, the size and time of its video and its photo, by
    which a file that was replaced is known, and of several photos the rule."""
    found: dict[str, Any] = {"prompt": pair.prompt, "video": _stamp(videos / pair.video)}
    photos = [_stamp(photo) for photo in pair.references]
    if len(photos) == 1:
        (found["photo"],) = photos
    elif photos:
        found |= {"photos": photos, "gallery": str(rule)}
    return found


def check_settings(out: Path, settings: dict[str, dict[str, Any]]) -> None:
    """Raises ValueError where scores that are in `out` were made with other settings."""
    known = read_settings(out)
    for metric, own in settings.items():
        changed = [key for key in own if known.get(metric, own).get(key) != own[key]]
        if changed:
            raise ValueError(
                f"out {out} holds scores of {metric} made with other {' and '.join(changed)}; "
                "scores of one folder are made alike: choose another --out."
            )


def note_settings(out: Path, settings: dict[str, dict[str, Any]]) -> None:
    """Adds the metrics' settings to OUT/settings.json."""
    write_json(_settings_path(out), read_settings(out) | settings)


def read_settings(out: Path) -> dict[str, dict[str, Any]]:
    """The settings that the scores of a folder were made with, by metric."""
    path = _settings_path(out)
    return read_json(path, "settings") if path.is_file() else {}


def _settings_path(out: Path) -> Path:
    return out / "settings.json"


def _stamp(path: Path) -> list[int]:
    """A file's size in bytes and the time of its last change in nanoseconds."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]
