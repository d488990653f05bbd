"""Checkpoints of a run: written aside and renamed, the newest few kept, found again by step."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

_STATE = "state.json"
_PREFIX = "step_"
_PARTIAL = ".partial_"


@dataclass(frozen=True, kw_only=True)
class CheckpointFolder:
    """The `checkpoints` folder of a run."""

    path: Path
    keep: int

    def write(self, step: int, save: Callable[[Path], None], *, is_main: bool = True) -> Path:
        """Lets `save` fill a folder aside, then renames it; `step` is the next one to do.

        All processes call it and `save`; the main one makes, renames and clears. A failure leaves
        the older checkpoints as they are.
        """
        partial = self.path / f"{_PARTIAL}{step:08d}"
        final = self.path / f"{_PREFIX}{step:08d}"
        if is_main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        try:
            save(partial)
            if is_main:
                (partial / _STATE).write_text(json.dumps({"step": step}))
                shutil.rmtree(final, ignore_errors=True)
                os.replace(partial, final)
                self._clear()
        finally:
            if is_main:
                shutil.rmtree(partial, ignore_errors=True)
        return final

    def newest(self) -> tuple[Path, int] | None:
        """The newest whole checkpoint and its step, if there is one."""
        found = self._all()
        if not found:
            return None
        step, path = found[-1]
        return path, step

    def _all(self) -> list[tuple[int, Path]]:
        return sorted(
            (json.loads((path / _STATE).read_text())["step"], path)
            for path in self.path.glob(f"{_PREFIX}*")
            if (path / _STATE).is_file()
        )

    def _clear(self) -> None:
        for _, path in self._all()[: -self.keep]:
            shutil.rmtree(path)
            log.info("removed %s: the newest %d are kept", path, self.keep)
