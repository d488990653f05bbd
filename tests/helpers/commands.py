"""Python in a process of its own, as users start our commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from helpers import PROJECT

Words = str | Path | int


def start(
    *words: Words, num_processes: int = 1, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Starts `python WORDS` in the project's folder, by torchrun where it is several processes."""
    launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={num_processes}")
    environment = {
        **os.environ,
        # Tensors this small are done before a second thread has woken up.
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        **(environment or {}),
    }
    return subprocess.Popen(
        [sys.executable, *(launcher if num_processes > 1 else ()), *map(str, words)],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    *words: Words,
    num_processes: int = 1,
    status: int = 0,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs it to its end, which has to be `status`; fails with what it logs."""
    with start(*words, num_processes=num_processes, environment=environment) as process:
        stdout, stderr = process.communicate()
    assert process.returncode == status, stderr
    return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)


def train(*words: Words, **options) -> str:
    """Runs `python -m stdrc_core.train`; returns what it logs."""
    return run("-m", "stdrc_core.train", *words, **options).stderr
