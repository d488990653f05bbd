"""Writes files beside their place and renames them, so that they appear whole or not at all, and
tells files apart by their contents.

Text is written in UTF-8, with a line feed at the end of a line, on every system.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

# How much of a file's name the name of its unfinished part has.
_MAX_START_BYTES = 120
_NUM_BYTES_LOOKED_AT, _MAX_ANSWER = 2048, 120
# How much of a name of the user's is kept where an ending is added to it.
_MAX_NAME_BYTES = 200


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, and renames it to `path` when the block is left.

    Where the block raises, what was written is removed instead. A file that is already at `path`
    stays as it is until the renaming. Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # File systems take names of 255 bytes, and this one is longer than the one it stands for.
    start = os.fsencode(path.name)[:_MAX_START_BYTES].decode(errors="ignore")
    partial = path.with_name(f".{start}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as JSON that a person can read, by `written_aside`."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file by `written_aside`, in the bytes of `encoded`."""
    with written_aside(path) as partial:
        partial.write_bytes(encoded(text))


def encoded(text: str) -> bytes:
    """Returns text as UTF-8.

    The name of a file that is no text, which Python has as halves of characters, becomes escapes
    such as \\udce9, which are JSON's too.
    """
    return text.encode(errors="backslashreplace")


def short_name(name: str) -> str:
    """Returns a file's name that leaves room for another ending, one of its own for each `name`.

    A long one is cut, and ends in a word by which it is told from others that begin alike.
    """
    content = os.fsencode(name)
    if len(content) <= _MAX_NAME_BYTES:
        return name
    start = content[: _MAX_NAME_BYTES - 9].decode(errors="ignore")
    return f"{start}~{hashlib.sha256(content).hexdigest()[:8]}"


def why_unreadable(path: str | Path, error: Exception) -> str:
    """Returns why a file of networks, a photo or a clip cannot be read, for a message's brackets.

    It says what lies there instead, where that is what downloads leave; else it is the error's own
    text.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(_NUM_BYTES_LOOKED_AT)
    except OSError:
        return str(error)
    if not start:
        return "it is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS: git lfs pull brings the file"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page, as a download without a login leaves"
    if start.startswith(b"{") and len(start) < _NUM_BYTES_LOOKED_AT:
        said = " ".join(start.decode(errors="replace").split())
        return f"it is a server's answer: {said[:_MAX_ANSWER]}"
    return str(error)


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
