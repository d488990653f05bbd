"""The JSON lines that a run writes of its steps, appended one at a time; each step is in once.

A run that was killed has done, and told of, steps that its last checkpoint does not know. It does
them again when it goes on, so what was told of them is cut off first, and so is half a line at the
end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..files import written_aside

LOG, VALIDATIONS = "log.jsonl", "validation.jsonl"


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Appends a line about `entry["step"]`."""
    with path.open("ab") as file:
        file.write(json.dumps(entry).encode() + b"\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the entries of the whole lines of a file; none where there is no file."""
    stored = path.read_bytes() if path.is_file() else b""
    return [json.loads(line) for line in _whole(stored) if _step(line) is not None]


def cut_back(path: Path, keeps: Callable[[int], bool]) -> None:
    """Leaves the whole lines of the steps that `keeps`, the last one of each step.

    The file appears whole or stays as it was; nothing happens where there is none.
    """
    if not path.is_file():
        return
    stored = path.read_bytes()
    kept: dict[int, bytes] = {}
    for line in _whole(stored):
        step = _step(line)
        if step is not None and keeps(step):
            # Of two lines of one step, which older versions left, the later one was trained on.
            kept.pop(step, None)
            kept[step] = line
    whole = b"".join(line + b"\n" for line in kept.values())
    if whole != stored:
        with written_aside(path) as partial:
            partial.write_bytes(whole)


def _whole(stored: bytes) -> list[bytes]:
    """Returns the lines that have an end."""
    return stored.split(b"\n")[:-1]


def _step(line: bytes) -> int | None:
    """Returns the step that a line tells of; None where it tells of none."""
    try:
        entry = json.loads(line)
    # A power cut may leave bytes that are no text.
    except ValueError:
        return None
    step = entry.get("step") if isinstance(entry, dict) else None
    return step if isinstance(step, int) else None
