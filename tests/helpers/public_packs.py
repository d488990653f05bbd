"""Public node packs to test beside: where they are, or why there is none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.comfyui import ComfyUI


@dataclass(frozen=True)
class PublicPack:
    """A pack that stands beside ComfyUI's folder, or where a variable says."""

    name: str
    repository: str
    variable: str
    """The environment variable with its folder."""
    file: str
    """A file of it by which it is known."""

    def find(self, comfyui: ComfyUI) -> Path | str:
        """Its folder, or the reason why there is none."""
        folder = self.repository.rpartition("/")[2]
        path = Path(os.environ.get(self.variable, comfyui.path.parent / folder))
        if (path / self.file).is_file():
            return path
        return (
            f"no {self.name} at {path}: clone {self.repository} next to ComfyUI, or point "
            f"{self.variable} at it"
        )

    def require(self, comfyui: ComfyUI) -> Path:
        """Its folder; skips the test where there is none."""
        found = self.find(comfyui)
        if isinstance(found, str):
            pytest.skip(found)
        return found


BFS = PublicPack(
    "BFS nodes",
    "github.com/alisson-anjos/ComfyUI-BFSNodes",
    "BFS_NODES_PATH",
    "ltx_identity_overlap.py",
)
GGUF = PublicPack("GGUF nodes", "github.com/city96/ComfyUI-GGUF", "GGUF_NODES_PATH", "loader.py")
KJNODES = PublicPack(
    "KJNodes", "github.com/kijai/ComfyUI-KJNodes", "KJNODES_PATH", "nodes/ltxv_nodes.py"
)
