"""The real ComfyUI in a process of its own; every host test talks to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from comfyui import ComfyUI, Worker
from comfyui_server import Server


def make_base(
    comfyui: ComfyUI, mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A base directory with this pack and the miniature in it."""
    base = comfyui.make_base(tmp_path_factory.mktemp("comfyui") / "base")
    shutil.copy(mini_checkpoint, base / "models" / "checkpoints")
    return base


@pytest.fixture(scope="session")
def host(
    comfyui: ComfyUI, mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    worker = Worker(comfyui, make_base(comfyui, mini_checkpoint, tmp_path_factory))
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def server(
    comfyui: ComfyUI, mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    server = Server(comfyui, make_base(comfyui, mini_checkpoint, tmp_path_factory))
    yield server
    server.close()
