"""Says of what a result is: the commit and the machine that made it, and the files it came from."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path

import torch

_PROJECT = Path(__file__).parents[2]


def commit() -> str:
    """The short name of the project's commit, with "-dirty" where tracked files have changed since;
    "unknown" where the project is not a clone or git is not there."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=_PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def machine() -> str:
    """The processor, how many cores of it may be used, and the version of torch."""
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} cores, torch {torch.__version__}"


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
