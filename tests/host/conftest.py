"""The real ComfyUI in a process of its own; every host test talks to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.comfyui import ComfyUI, Worker
from helpers.comfyui_server import Server


@pytest.fixture(scope="session")
def host(
    comfyui: ComfyUI, mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """Its `stdrc_mini.safetensors` has random weights, which no test can mistake for trained."""
    base = comfyui.make_base(tmp_path_factory.mktemp("comfyui") / "base")
    shutil.copy(mini_checkpoint, base / "models" / "checkpoints")
    worker = Worker(comfyui, base)
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def server(comfyui: ComfyUI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """On nothing but this pack: the miniature is the one that ships with it."""
    base = comfyui.make_base(tmp_path_factory.mktemp("comfyui") / "base")
    server = Server(comfyui, base)
    yield server
    server.close()
