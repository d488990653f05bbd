"""Beside KJNodes' patches of LTX-2: its NAG, chunked feed-forward and attention tuner."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from helpers.comfyui import ComfyUI, Worker
from torch import Tensor

pytestmark = pytest.mark.host

GRID = [3, 4, 4]
KINDS = ("nag", "chunks", "tuner")


@pytest.fixture(scope="module")
def kj(host: Worker, comfyui: ComfyUI) -> Worker:
    """A host with KJNodes loaded from its public repository."""
    folder = Path(os.environ.get("KJNODES_PATH", comfyui.path.parent / "ComfyUI-KJNodes"))
    if not (folder / "nodes" / "ltxv_nodes.py").is_file():
        pytest.skip(
            f"no KJNodes at {folder}: clone github.com/kijai/ComfyUI-KJNodes next to ComfyUI, or "
            "point KJNODES_PATH at it"
        )
    if reason := host("kjnodes.load", folder=str(folder)):
        pytest.skip(reason)
    return host


def tass_bounds() -> Tensor:
    """Eq. 4 by plain counting: (T, H + i, W + j) in frames and pixels."""
    t, h, w = GRID
    cells = [(i, j) for i in range(h) for j in range(w)]
    boxes = [
        [[8 * t - 7, 8 * t + 1] for _ in cells],
        [[32 * (h + i), 32 * (h + i + 1)] for i, _ in cells],
        [[32 * (w + j), 32 * (w + j + 1)] for _, j in cells],
    ]
    return torch.tensor(boxes, dtype=torch.float32)


@pytest.mark.parametrize("patch_first", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_patch_beside_ours_equals_the_reference_appended_by_hand(
    kj: Worker, kind: str, patch_first: bool
) -> None:
    """The oracle is core's CFGGuider on KJNodes' patch alone, with the reference as a guide."""
    got = kj("kjnodes.compare", kind=kind, patch_first=patch_first, grid=GRID, bounds=tass_bounds())
    assert difference(got["both"], got["oracle"]) < 1e-4
    # Chunks change nothing; the other two do, or the test above would show nothing.
    changes = difference(got["both"], got["plain"])
    assert changes < 1e-4 if kind == "chunks" else changes > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_three_streams_do_not_mind_which_patch_came_first(kj: Worker, kind: str) -> None:
    got = kj("kjnodes.three_streams", kind=kind, grid=GRID)
    assert torch.isfinite(got["after"]).all()
    assert difference(got["before"], got["after"]) < 1e-4
    changes = difference(got["after"], got["plain"])
    assert changes < 1e-4 if kind == "chunks" else changes > 1e-3


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())
