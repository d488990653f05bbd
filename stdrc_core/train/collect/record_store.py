"""Keeps small records of work that is done, a JSON file each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...files import write_json
from ...folders import files_below
from ...text_files import read_json


class RecordStore:
    """Records by keys, which may have slashes; each holds what it was asked for (`asked`).

    A record that was made of something else does not count. A record with a `problem` tells of work
    that failed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """What was made; None where there is nothing, or it was asked for otherwise."""
        try:
            record = read_json(self._path(key))
        except (OSError, ValueError):
            return None
        # JSON knows no tuples.
        return record["made"] if record["asked"] == json.loads(json.dumps(asked)) else None

    def read_any(self, key: str) -> dict[str, Any] | None:
        """What was made last, whatever it was asked for."""
        try:
            return read_json(self._path(key))["made"]
        except (OSError, ValueError):
            return None

    def write(self, key: str, asked: Mapping[str, Any], made: Mapping[str, Any]) -> None:
        """Keeps what was made. Raises OSError where it cannot be written."""
        write_json(self._path(key), {"asked": asked, "made": made})

    def forget(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        """The keys of all records."""
        for path in files_below(self.folder):
            yield path.relative_to(self.folder).with_suffix("").as_posix()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"
