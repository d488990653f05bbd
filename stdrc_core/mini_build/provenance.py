"""Where a figure comes from: the commit and the machine that it was measured on."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch

from ..text_files import read_lines
from .arguments import num_cores

_PROJECT = Path(__file__).parents[2]
_UNKNOWN = "unknown"


def commit_of(folder: Path = _PROJECT) -> str:
    """The short name of the commit that is checked out in `folder`, with `-dirty` behind it where
    files that it knows were changed; `unknown` where git does not know the folder."""
    name = _git(folder, "rev-parse", "--short", "HEAD")
    if not name:
        return _UNKNOWN
    return f"{name}-dirty" if _git(folder, "status", "--porcelain", "-uno") else name


def machine() -> str:
    """The processor's name, how many of its cores this process may use, and torch's version."""
    return f"{_processor()}, {num_cores()} cores, torch {torch.__version__}"


def _git(folder: Path, *words: str) -> str:
    """What git says, without the last line's end; empty where it fails or is not there."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    # Linux alone tells the processor's name here; elsewhere Python knows no more than its kind.
    about = Path("/proc/cpuinfo")
    if about.is_file():
        for line in read_lines(about):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or _UNKNOWN
