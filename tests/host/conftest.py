"""The real ComfyUI in a process of its own; every host test talks to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from comfyui import ComfyUI, Worker
from comfyui_server import Server


@pytest.fixture(scope="session")
def host(
    comfyui: ComfyUI, mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    base = comfyui.make_base(tmp_path_factory.mktemp("comfyui") / "base")
    shutil.copy(mini_checkpoint, base / "models" / "checkpoints")
    worker = Worker(comfyui, base)
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def server(
    comfyui: ComfyUI, mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    base = comfyui.make_base(tmp_path_factory.mktemp("server") / "base")
    shutil.copy(mini_checkpoint, base / "models" / "checkpoints")
    server = Server(comfyui, base)
    yield server
    server.close()
