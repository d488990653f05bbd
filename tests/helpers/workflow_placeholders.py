"""What a saved workflow asks its user for, in name only: a photo, and empty model files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from skimage import data


def models_of(workflow: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """The model files that a page-form workflow offers for download, with their node types."""
    for node in workflow["nodes"]:
        for model in node.get("properties", {}).get("models", []):
            yield node["type"], model


def make_placeholders(workflow: dict[str, Any], base: Path) -> None:
    """The page and the queue's checks look at names alone."""
    Image.fromarray(data.astronaut()).save(base / "input" / "example.png")
    for _, model in models_of(workflow):
        path = base / "models" / model["directory"] / model["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
