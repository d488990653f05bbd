"""Where the real ComfyUI is, and the miniature checkpoint that the tests load."""

from __future__ import annotations

from pathlib import Path

import pytest
from comfyui import ComfyUI, find_comfyui


@pytest.fixture(scope="session")
def comfyui() -> ComfyUI:
    """The user's ComfyUI, or a skip that says how to get one."""
    found = find_comfyui()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def mini_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from stdrc_core.mini.weights import write_miniature

    return write_miniature(tmp_path_factory.mktemp("checkpoints") / "stdrc_mini.safetensors")
