"""Writes files beside their place and renames them, so that they appear whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, and renames it to `path` when the block is left.

    Where the block raises, what was written is removed instead. A file that is already at `path`
    stays as it is until the renaming. Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as JSON that a person can read, by `written_aside`."""
    with written_aside(path) as partial:
        partial.write_text(json.dumps(value, indent=1) + "\n")


@contextmanager
def failures_told(what: str, remedy: str) -> Iterator[None]:
    """Turns failures to write in the block, above all a full disk, into an OSError of one sentence.

    The sentence names `what` was to be written and ends with the `remedy`. On a full disk,
    safetensors raises an exception of its own, and torch.save raises RuntimeErrors of its file
    format or of C++ streams.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        # Other RuntimeErrors are not about files but about memory, collectives or shared tensors.
        of_files = ("inline_container", "iostream")
        if isinstance(error, RuntimeError) and not any(word in str(error) for word in of_files):
            raise
        raise OSError(
            f"{what} could not be written ({error}); needs a writable folder with free space: "
            f"{remedy}."
        ) from error
