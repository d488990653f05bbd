"""The pack's requirements for a ComfyUI whose Python lacks them, from the tests' own environment.

A user installs requirements.txt into ComfyUI's Python. The tests leave that alone: what it lacks
of InsightFace and its dependencies is linked into a folder that goes on its PYTHONPATH.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOTS = ("insightface",)
_WHAT_IS_THERE = (
    "import importlib.metadata as m, json, sys;"
    "print(json.dumps([sys.version_info[:2], [d.name for d in m.distributions()]]))"
)


def borrow(python: Path, folder: Path, roots: tuple[str, ...] = ROOTS) -> str | None:
    """Links what `python` lacks of `roots` into `folder`; why that cannot be, or None."""
    said = subprocess.run([python, "-c", _WHAT_IS_THERE], capture_output=True, check=True)
    version, names = json.loads(said.stdout)
    there = {_plain(name) for name in names if name}
    missing = _closure(roots, there)
    if isinstance(missing, str):
        return missing
    if missing and tuple(version) != sys.version_info[:2]:
        return (
            f"ComfyUI's Python is {version[0]}.{version[1]} and has no {missing[0].name}: install "
            "requirements.txt there"
        )
    for each in missing:
        for name in {file.parts[0] for file in each.files or () if file.parts[0] != ".."}:
            link = folder / name
            if not link.exists():
                link.symlink_to(Path(str(each.locate_file(name))).resolve())
    return None


def _closure(names: tuple[str, ...], there: set[str]) -> list[Distribution] | str:
    """The distributions that `names` need and that are not `there`."""
    missing: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = _plain(waiting.pop())
        if name in there or name in missing:
            continue
        try:
            missing[name] = distribution(name)
        except PackageNotFoundError:
            return f"neither ComfyUI's Python nor the tests' has {name}: install requirements.txt"
        requires = map(Requirement, missing[name].requires or [])
        waiting += [
            each.name
            for each in requires
            if each.marker is None or each.marker.evaluate({"extra": ""})
        ]
    return list(missing.values())


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
