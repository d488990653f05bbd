"""Checkpoints of a run: each is written aside and renamed; the newest few and the best are kept.

A checkpoint's `state.json` holds its step and, when it was validated, its mean FaceSim. The best
checkpoint is found by reading these files, so that a resumed run knows it too. `best.json` names it
for people.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.api import CheckpointException

from ..files import encoded, failures_told, write_json
from ..text_files import read_json
from .config import RunSection

log = logging.getLogger(__name__)

_STATE = "state.json"
_BEST = "best.json"
_PREFIX = "step_"
_PARTIAL = ".partial_"


@dataclass(frozen=True, kw_only=True)
class CheckpointFolder:
    """The `checkpoints` folder of a run."""

    path: Path
    keep: int
    """How many of the newest checkpoints to keep."""

    @classmethod
    def of(cls, section: RunSection) -> CheckpointFolder:
        """The folder of the run that `section` describes."""
        return cls(path=section.out / "checkpoints", keep=section.keep_checkpoints)

    def write(self, step: int, save: Callable[[Path], None], *, is_main: bool = True) -> Path:
        """Lets `save` fill a folder aside and renames it; returns the checkpoint's folder.

        `step` is the number of steps done, which is also the next step to do. All processes must
        call it, and each calls `save`; the main one makes and renames the folder, and removes old
        checkpoints and what a killed run left half written. Raises OSError, in one sentence, where
        a file cannot be written; the older checkpoints are then as they were.
        """
        partial = self.path / f"{_PARTIAL}{step:08d}"
        final = self.path / f"{_PREFIX}{step:08d}"
        if is_main:
            self._remove_partial()
        try:
            with failures_told(
                f"checkpoint {final}",
                "the older checkpoints are intact, so make room and give the same command again",
            ):
                if is_main:
                    partial.mkdir(parents=True)
                _save_unwrapped(save, partial)
                if is_main:
                    (partial / _STATE).write_bytes(encoded(json.dumps({"step": step})))
                    shutil.rmtree(final, ignore_errors=True)
                    os.replace(partial, final)
        finally:
            if is_main:
                self._remove_partial()
        if is_main:
            self._clear()
        return final

    def newest(self) -> tuple[Path, int] | None:
        """The newest whole checkpoint and its step; None where there is none."""
        found = self._all()
        if not found:
            return None
        step, path = found[-1]
        return path, step

    def rate(self, step: int, facesim: float | None) -> None:
        """Notes that the checkpoint of `step` was validated, with its mean FaceSim if it has one.

        The best of the rated checkpoints is kept, the newest one of equals. Nothing happens where
        `step` has no checkpoint. Only the main process may call it.
        """
        path = self.path / f"{_PREFIX}{step:08d}"
        if not (path / _STATE).is_file():
            return
        write_json(path / _STATE, {"step": step, "facesim": facesim})
        best = self.best()
        if best is not None and best[1] == step:
            best_entry = {"checkpoint": path.name, "step": step, "facesim": facesim}
            write_json(self.path / _BEST, best_entry)
        self._clear()

    def is_rated(self, step: int) -> bool:
        """Whether the checkpoint of `step` was validated."""
        path = self.path / f"{_PREFIX}{step:08d}"
        return (path / _STATE).is_file() and "facesim" in _read_state(path)

    def best(self) -> tuple[Path, int] | None:
        """The checkpoint of the highest mean FaceSim and its step; None where none has one."""
        rated = [(state["facesim"], state["step"], path) for state, path in self._states()
                 if state.get("facesim") is not None]  # fmt: skip
        if not rated:
            return None
        _, step, path = max(rated)
        return path, step

    def named(self, name: str) -> Path:
        """The folder of the checkpoint `last`, `best`, or of a name such as `step_00000500`.

        Raises ValueError where there is no such checkpoint.
        """
        paths = {path.name: path for _, path in self._all()}
        for word, found in (("last", self.newest()), ("best", self.best())):
            if found is not None:
                paths[word] = found[0]
        if name not in paths:
            there = ", ".join(paths) or "none"
            raise ValueError(f"checkpoint was {name}; needs one of those in {self.path}: {there}.")
        return paths[name]

    def _all(self) -> list[tuple[int, Path]]:
        """All whole checkpoints with their steps, oldest first."""
        return sorted((state["step"], path) for state, path in self._states())

    def _states(self) -> list[tuple[dict[str, Any], Path]]:
        """What `state.json` says of each whole checkpoint, and its folder."""
        return [
            (_read_state(path), path)
            for path in self.path.glob(f"{_PREFIX}*")
            if (path / _STATE).is_file()
        ]

    def _remove_partial(self) -> None:
        """Removes folders that are half written."""
        for partial in self.path.glob(f"{_PARTIAL}*"):
            shutil.rmtree(partial, ignore_errors=True)

    def _clear(self) -> None:
        """Removes checkpoints that are neither among the newest nor the best."""
        best = self.best()
        for step, path in self._all()[: -self.keep]:
            if best is None or step != best[1]:
                shutil.rmtree(path)
                log.info("removed %s: the newest %d and the best are kept", path, self.keep)


def _read_state(path: Path) -> dict[str, Any]:
    """The step of a checkpoint and, once it was validated, its mean FaceSim."""
    state = read_json(path / _STATE)
    if "face_sim" in state:
        # Runs that began before the key had its name keep their best checkpoint.
        state["facesim"] = state.pop("face_sim")
    return state


def _save_unwrapped(save: Callable[[Path], None], path: Path) -> None:
    """Calls `save`, and raises an error of its own where torch wraps it.

    With sharded weights torch raises one exception that holds those of all processes.
    """
    try:
        save(path)
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from error
