"""Writes the manifest that `prepare` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...files import write_text
from .plan import PlannedClip

MANIFEST = "manifest.jsonl"


def manifest_line(clip: PlannedClip, made: Mapping[str, Any], caption: str) -> dict[str, Any]:
    """The line of a clip; `made` is what `ClipMaker` made of it."""
    photos = [photo for own in made["references"] for photo in own]
    line: dict[str, Any] = {"video": made["video"], "caption": caption}
    line |= {"reference": photos[0]} if len(photos) == 1 else {"references": photos}
    if len(clip.persons) == 1:
        line["identity"] = clip.persons[0]
    else:
        line["persons"] = list(clip.persons)
    if made["start_s"]:
        line["start_s"] = made["start_s"]
    # Clips that were made by an earlier version do not say it.
    if "shot" in made:
        line["origins"] = [origin for own in made["origins"] for origin in own]
        line["shot"] = made["shot"]
    return line


def write_manifest(out: Path, lines: Iterable[Mapping[str, Any]]) -> Path:
    """Writes the lines in their order; returns the manifest's path."""
    write_text(out / MANIFEST, "".join(json.dumps(line) + "\n" for line in lines))
    return out / MANIFEST
