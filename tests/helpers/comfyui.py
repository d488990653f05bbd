"""Finds the user's ComfyUIs and runs code, or a server, in the Python of one of them."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import torch

from helpers import PROJECT

PACK_NAME = "ComfyUI-STDRC"
_VENV_PYTHONS = (".venv/bin/python", "venv/bin/python")
# Where the tests look if COMFYUI_PATHS and COMFYUI_PATH are not set.
_FOLDERS = (Path.home() / "comfy" / "ComfyUI", Path.home() / "comfy33" / "ComfyUI")
HOW_TO_GET_IT = (
    "install ComfyUI 0.22 or newer (`pip install comfy-cli && comfy install`), or point "
    "COMFYUI_PATHS at folders of it and COMFYUI_PYTHON at the python of those that have no venv"
)


@dataclass(frozen=True)
class ComfyUI:
    """A ComfyUI folder and the Python that runs it."""

    path: Path
    python: Path
    version: str
    """As in its comfyui_version.py, for example 0.33.0."""
    packages: Path | None = None
    """A folder of packages that its Python lacks."""

    @property
    def version_numbers(self) -> tuple[int, ...]:
        """The version as numbers, to compare versions by."""
        return tuple(map(int, re.findall(r"\d+", self.version)))

    @property
    def environment(self) -> dict[str, str]:
        """Of a process of its Python; of one thread, as the tests' own (conftest.py)."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        if self.packages is not None:
            paths = str(self.packages), os.environ.get("PYTHONPATH")
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        return environment

    def make_base(self, base: Path) -> Path:
        """A base directory of its own for a server or worker, with this pack installed in it."""
        for folder in ("custom_nodes", "models/checkpoints", "input", "output", "temp", "user"):
            (base / folder).mkdir(parents=True)
        (base / "custom_nodes" / PACK_NAME).symlink_to(PROJECT, target_is_directory=True)
        return base


@dataclass(frozen=True)
class Missing:
    """A ComfyUI that cannot be tested in."""

    name: str
    reason: str


def find_comfyuis() -> list[ComfyUI | Missing]:
    """The ComfyUIs to test in, the oldest first; where there is none, why."""
    if sys.platform == "win32":
        reason = "the host tests talk to ComfyUI through POSIX pipes: run them on Linux or macOS"
        return [Missing("none", reason)]
    named = os.environ.get("COMFYUI_PATHS") or os.environ.get("COMFYUI_PATH")
    if named:
        found = [_open(Path(path)) for path in named.split(os.pathsep) if path]
    else:
        found = [_open(path) for path in _FOLDERS if path.is_dir()]
    missing = [each for each in found if isinstance(each, Missing)]
    hosts = [each for each in found if isinstance(each, ComfyUI)]
    if not found:
        places = " or ".join(map(str, _FOLDERS))
        missing = [Missing("none", f"no ComfyUI at {places}: {HOW_TO_GET_IT}")]
    return [*sorted(hosts, key=lambda host: host.version_numbers), *missing]


def newest_comfyui() -> ComfyUI | Missing:
    """The newest of them, or why there is none."""
    found = find_comfyuis()
    hosts = [each for each in found if isinstance(each, ComfyUI)]
    return hosts[-1] if hosts else found[0]


def _open(path: Path) -> ComfyUI | Missing:
    if not (path / "main.py").is_file():
        return Missing(path.name, f"no ComfyUI at {path}: {HOW_TO_GET_IT}")
    candidates = [path / python for python in _VENV_PYTHONS]
    if "COMFYUI_PYTHON" in os.environ:
        candidates.append(Path(os.environ["COMFYUI_PYTHON"]))
    python = next((python for python in candidates if python.is_file()), None)
    if python is None:
        return Missing(path.name, f"no python for the ComfyUI at {path}: {HOW_TO_GET_IT}")
    found = re.search(r'__version__ = "(.+)"', (path / "comfyui_version.py").read_text())
    return ComfyUI(path, python, version=found[1] if found else "unknown")


class HostError(Exception):
    """An exception of a scenario, as the worker reported it."""

    def __init__(self, kind: str, message: str, trace: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message, self.trace = kind, message, trace

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}\n{self.trace}"


class Worker:
    """A process in ComfyUI's Python that runs the functions of `tests/host/scenarios`."""

    def __init__(self, comfyui: ComfyUI, base: Path, *, cpu: bool = True) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in close)
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [
                comfyui.python,
                PROJECT / "tests" / "host" / "worker.py",
                *("--comfyui", comfyui.path, "--pack", PROJECT, "--base-directory", base),
                *("--connection", str(theirs.fileno())),
                *(["--cpu"] if cpu else []),
            ],
            env=comfyui.environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=base,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def __call__(self, scenario: str, **arguments: Any) -> Any:
        """Runs `module.function` with tensors and plain values; raises HostError if it raises."""
        try:
            self._connection.send_bytes(_dump([scenario, arguments]))
            kind, value = torch.load(io.BytesIO(self._connection.recv_bytes()), weights_only=True)
        except (EOFError, OSError):
            raise RuntimeError(f"the ComfyUI worker died in {scenario}:\n{self.log()}") from None
        if kind == "error":
            raise HostError(*value)
        return value

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def close(self) -> None:
        self._connection.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()


def _dump(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
