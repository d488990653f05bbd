"""Beside KJNodes' patches of LTX-2: its NAG, chunked feed-forward and attention tuner."""

from __future__ import annotations

import pytest
import torch
from helpers.comfyui import Worker
from helpers.equation_4 import equation_4
from torch import Tensor

pytestmark = pytest.mark.host

GRID = [3, 4, 4]
KINDS = ("nag", "chunks", "tuner")


@pytest.mark.parametrize("patch_first", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_patch_beside_ours_equals_the_reference_appended_by_hand(
    kj: Worker, kind: str, patch_first: bool
) -> None:
    """The oracle is core's CFGGuider on KJNodes' patch alone, with the reference as a guide."""
    bounds = torch.tensor(equation_4(*GRID, "tass"), dtype=torch.float32)
    got = kj("kjnodes.compare", kind=kind, patch_first=patch_first, grid=GRID, bounds=bounds)
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
