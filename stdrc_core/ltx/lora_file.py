"""LoRA files: opening one, and its metadata. It needs no network, so that the nodes read it too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..files import why_unreadable


def read_metadata(path: str | Path) -> dict[str, str]:
    """Returns the safetensors metadata of a LoRA. Raises ValueError where it cannot be read."""
    with open_lora(path) as file:
        return file.metadata() or {}


@contextmanager
def open_lora(path: str | Path) -> Iterator[safe_open]:
    """Opens a LoRA's safetensors file. Raises ValueError where it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"LoRA {path} could not be read ({why_unreadable(path, error)}); needs a safetensors "
            "file: check the path."
        ) from error
