"""What is on disk of a scored clip, below OUT/clips: NAME.json, written last, and beside it
NAME.jpg (the photo and frames, for the report) and NAME.faces.safetensors (embeddings)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..files import write_json, written_aside
from .pairs import Pair

_JPEG_QUALITY = 82


class Value(BaseModel):
    """A metric's score, as `metric.Score`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    frames: tuple[int, ...] = ()
    curve: tuple[float | None, ...] = ()


class Result(BaseModel):
    """Of one clip: scores by metric, and why others are missing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    video: str
    asked: dict[str, Any]
    """Of what the scores are; when it changes, the clip is scored anew."""
    person: str | None = None
    num_frames: int | None = None
    fps: float | None = None
    height: int | None = None
    width: int | None = None
    scores: dict[str, Value] = {}
    problems: dict[str, str] = {}
    """Metric -> one sentence; each is tried again by the next run."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """The results of an evaluation's folder."""

    out: Path

    def read(self, video: str) -> Result | None:
        """What is there of a clip; None where nothing is. Raises ValueError for a damaged file."""
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
        write_json(self._path(result.video, "json"), result.model_dump(mode="json"))

    def strip(self, video: str) -> Path:
        """Where the clip's picture is, or would be."""
        return self._path(video, "jpg")

    def write_strip(self, video: str, image: Image.Image) -> None:
        with written_aside(self.strip(video)) as partial:
            image.save(partial, format="JPEG", quality=_JPEG_QUALITY)

    def write_faces(self, video: str, photo: Tensor, frames: list[Tensor]) -> None:
        """`photo` `[D]`; `frames` those with a face, `[D]` each."""
        stacked = torch.stack(frames) if frames else photo.new_zeros(0, len(photo))
        with written_aside(self._path(video, "faces.safetensors")) as partial:
            save_file({"photo": photo.contiguous(), "frames": stacked}, partial)

    def read_faces(self, video: str) -> tuple[Tensor, Tensor] | None:
        """The photo's embedding `[D]` and the frames' `[F, D]`; None where they were not asked."""
        path = self._path(video, "faces.safetensors")
        if not path.is_file():
            return None
        tensors = load_file(path)
        return tensors["photo"], tensors["frames"]

    def _path(self, video: str, kind: str) -> Path:
        return self.out / "clips" / f"{video}.{kind}"


def asked(videos: Path, pair: Pair) -> dict[str, Any]:
    """What a clip's scores are of: a file that was replaced, or other words, score anew."""
    found: dict[str, Any] = {"prompt": pair.prompt, "video": _stamp(videos / pair.video)}
    if pair.reference is not None:
        found["photo"] = _stamp(pair.reference)
    return found


def check_settings(out: Path, settings: dict[str, dict[str, Any]]) -> None:
    """Raises ValueError when scores that are in `out` were made with other settings."""
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
    """The settings of a folder's metrics."""
    path = _settings_path(out)
    return json.loads(path.read_text()) if path.is_file() else {}


def _settings_path(out: Path) -> Path:
    return out / "settings.json"


def _stamp(path: Path) -> list[int]:
    """Size in bytes and time of the last change in nanoseconds."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]
