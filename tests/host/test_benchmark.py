"""The benchmark of guidance at its least size: it runs, and its memory is what it should be."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.comfyui import ComfyUI, Worker
from helpers.public_packs import BFS

pytestmark = [pytest.mark.host, pytest.mark.newest_host]

GRID = [3, 2, 3]


@pytest.fixture(scope="module")
def measured(host: Worker, comfyui: ComfyUI) -> dict[str, Any]:
    bfs = BFS.find(comfyui)
    return host(
        "benchmark.guided_steps",
        num_layers=1,
        num_heads=4,
        head_dim=24,
        dtype="float32",
        grid=GRID,
        rounds=2,
        prompt_tokens=8,
        num_references=[1, 3],
        num_frames=[17, 33],
        scan_rounds=1,
        bfs=None if isinstance(bfs, str) else str(bfs),
    )


def test_each_step_is_measured_in_each_round(measured: dict[str, Any]) -> None:
    for kind, rounds in (("variants", 2), ("num_references", 1), ("num_frames", 1)):
        for each in measured[kind].values():
            assert len(each["times_s"]) == rounds
            for step_s, forwards_s in each["times_s"]:
                assert 0 < forwards_s <= step_s
            assert each["peak_bytes"] > 0
    assert list(measured["num_references"]) == ["1", "3"]
    assert list(measured["num_frames"]) == ["17", "33"]


def test_memory_is_of_the_streams_that_run_at_once(measured: dict[str, Any]) -> None:
    """v0 and vy run as one batch, beside which vyr is small; the video's 17 frames are T = 3."""
    peak = {name: each["peak_bytes"] for name, each in measured["variants"].items()}
    assert peak["default"] == pytest.approx(peak["DualCFGGuider"], rel=0.02)
    assert peak["s_y = s_r = 1"] < peak["default"]
    lengths = measured["num_frames"]
    assert lengths["17"]["peak_bytes"] == peak["default"]
    assert lengths["33"]["peak_bytes"] > 1.3 * peak["default"]


def test_bfs_runs_with_its_reference_on_both_sides_and_leaves_our_model_alone(
    measured: dict[str, Any],
) -> None:
    peak = {name: each["peak_bytes"] for name, each in measured["variants"].items()}
    if "BFS" not in peak:
        pytest.skip("no BFS nodes")
    # Its batch of two holds T + 1 frames each, ours T.
    assert peak["BFS"] > 1.1 * peak["ours as BFS"]
    assert peak["ours as BFS"] == pytest.approx(peak["default"], rel=0.02)


def test_peak_memory_is_exact(host: Worker) -> None:
    assert host("measuring.peak_of_known_tensors") == 15_000_000
