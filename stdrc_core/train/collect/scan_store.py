"""Keeps the scans of videos on disk, so that each is made once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...files import write_json, written_aside
from ...text_files import read_json
from .scan import TENSOR_NAMES, Scan
from .shots import Shot


class ScanStore:
    """The scans in a folder, by the footage's keys; of a video that failed, the reason is kept."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """`settings` are what a scan rests on; one made with others does not count."""
        self.folder, self.settings = folder, dict(settings)

    def write(self, key: str, scan: Scan) -> None:
        """Keeps a scan. Raises OSError or SafetensorError where it cannot be written."""
        plain = {
            "settings": self.settings,
            "fps": scan.fps,
            "height": scan.height,
            "width": scan.width,
            "duration_s": scan.duration_s,
            "codec": scan.codec,
            "damage": scan.damage,
            "shots": [asdict(shot) for shot in scan.shots],
            "keyframes_s": scan.keyframes_s,
        }
        tensors = {name: getattr(scan, name).contiguous() for name in TENSOR_NAMES}
        with written_aside(self._path(key)) as partial:
            save_file(tensors, partial, metadata={"scan": json.dumps(plain)})

    def write_problem(self, key: str, problem: str) -> None:
        """Keeps why a video could not be scanned."""
        write_json(self._problem_path(key), {"settings": self.settings, "problem": problem})

    def read(self, key: str) -> Scan | str | None:
        """A scan, or the reason why there is none, or None for a video that is to be scanned."""
        problem = self._problem(key)
        if problem is not None:
            return problem
        try:
            with safe_open(self._path(key), framework="pt") as file:
                plain = json.loads(file.metadata()["scan"])
                if plain.pop("settings") != self.settings:
                    return None
                shots = [
                    Shot(**{**shot, "crop": shot["crop"] and tuple(shot["crop"])})
                    for shot in plain.pop("shots")
                ]
                tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in TENSOR_NAMES}
        except (OSError, SafetensorError):
            return None
        keyframes = tuple(plain.pop("keyframes_s"))
        return Scan(**plain, shots=tuple(shots), keyframes_s=keyframes, **tensors)

    def is_done(self, key: str) -> bool:
        """Whether a video was scanned, or found to be of no use, with these settings."""
        if self._problem(key) is not None:
            return True
        try:
            with safe_open(self._path(key), framework="pt") as file:
                return json.loads(file.metadata()["scan"])["settings"] == self.settings
        except (OSError, SafetensorError):
            return False

    def forget_problem(self, key: str) -> None:
        """Lets a video that failed be tried again."""
        self._problem_path(key).unlink(missing_ok=True)

    def _problem(self, key: str) -> str | None:
        try:
            kept = read_json(self._problem_path(key))
        except (OSError, ValueError):
            return None
        return kept["problem"] if kept["settings"] == self.settings else None

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _problem_path(self, key: str) -> Path:
        return self.folder / f"{key}.problem.json"
