"""How this project writes a file: aside, then renamed, so that it appears whole or not at all."""

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
    """A name beside `path` to write to; renamed to `path` when all went well, else removed.

    A file that was there stays as it is until then. Missing folders are made.
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
    """`value` as JSON that a person can read, `written_aside`."""
    with written_aside(path) as partial:
        partial.write_text(json.dumps(value, indent=1) + "\n")


@contextmanager
def failures_told(what: str, remedy: str) -> Iterator[None]:
    """Raises OSError, in one sentence, where `what` cannot be written: a full disk above all.

    For that safetensors has an exception of its own, and torch.save RuntimeErrors, of its file
    format and of C++ streams.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        # Other RuntimeErrors are not about files: memory, collectives, tensors that share memory.
        of_files = ("inline_container", "iostream")
        if isinstance(error, RuntimeError) and not any(word in str(error) for word in of_files):
            raise
        raise OSError(
            f"{what} could not be written ({error}); needs a writable folder with free space: "
            f"{remedy}."
        ) from error
