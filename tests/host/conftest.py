"""The real ComfyUI in a process of its own; every host test talks to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.comfyui import ComfyUI, Worker
from helpers.comfyui_server import Server
from helpers.public_packs import GGUF, KJNODES


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


@pytest.fixture
def gguf_folder(host: Worker, comfyui: ComfyUI) -> str:
    """Of ComfyUI-GGUF; its loader needs a package of its own besides."""
    folder = GGUF.require(comfyui)
    if not host("gguf.has_package"):
        pytest.skip("no gguf in ComfyUI's Python: pip install gguf there")
    return str(folder)


@pytest.fixture
def kj(host: Worker, comfyui: ComfyUI) -> Worker:
    """A host with KJNodes loaded from its public repository."""
    if reason := host("kjnodes.load", folder=str(KJNODES.require(comfyui))):
        pytest.skip(reason)
    return host
