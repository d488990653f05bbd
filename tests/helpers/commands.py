"""The trainer's command line as users type it, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from helpers import PROJECT


def command(*arguments: str | Path | int) -> str:
    """Runs `python -m stdrc_core.train`; returns what it logs, fails with it where it fails."""
    ended = subprocess.run(
        [sys.executable, "-m", "stdrc_core.train", *map(str, arguments)],
        cwd=PROJECT,
        # Tensors this small are done before a second thread has woken up.
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr
