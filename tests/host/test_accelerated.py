"""Beside what makes models faster or smaller: caches, compilers, other attention, fewer bits."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.comfyui import Worker
from torch import Tensor

pytestmark = pytest.mark.host

STEPS, COMPUTED = 6, 2
WEIGHTS = {"empty": 1 - 5.0, "text": 5.0 - 7.5, "both": 7.5}


@pytest.mark.parametrize("node_id", ["EasyCache", "LazyCache"])
@pytest.mark.parametrize("has_audio", [False, True])
def test_a_cache_that_reuses_nothing_changes_nothing(
    host: Worker, node_id: str, has_audio: bool
) -> None:
    options: dict[str, Any] = {"has_audio": has_audio, "steps": 3}
    expected = host("accelerated.plain", **options)
    for patch_first in (True, False):
        got = host(
            "accelerated.cached",
            node_id=node_id,
            patch_first=patch_first,
            threshold=1e-9,
            **options,
        )
        assert len(got["calls"]) == 3 * 3
        torch.testing.assert_close(got["output"], expected)


@pytest.mark.parametrize("node_id", ["EasyCache", "LazyCache"])
@pytest.mark.parametrize("patch_first", [True, False])
@pytest.mark.parametrize("has_audio", [False, True])
def test_a_cache_keeps_each_stream_by_itself(
    host: Worker, node_id: str, patch_first: bool, has_audio: bool
) -> None:
    """Two steps are computed. Then EasyCache gives v = x + (v - x) of the second, of each stream;
    LazyCache the same of the guided estimate x - sigma v. Eq. 13 and Euler written out."""
    got = host(
        "accelerated.cached",
        node_id=node_id,
        patch_first=patch_first,
        has_audio=has_audio,
        threshold=1e9,
        steps=STEPS,
    )
    streams = [call["stream"] for call in got["calls"]]
    assert sorted(streams) == sorted([*WEIGHTS] * COMPUTED)
    second = {call["stream"]: call for call in got["calls"][3:]}
    latent, sigmas = second["both"]["video"], got["sigmas"].tolist()
    guided = sum(weight * second[name]["output"] for name, weight in WEIGHTS.items())
    added, estimate = guided - latent, -sigmas[1] * guided
    for i, (sigma, following) in list(enumerate(pairwise(sigmas)))[1:]:
        if node_id == "EasyCache":
            velocity = guided if i == 1 else latent + added
        else:
            velocity = -estimate / sigma
        latent = latent + (following - sigma) * velocity
    assert difference(got["output"], latent) < 1e-4


@pytest.mark.parametrize("node_id", ["EasyCache", "LazyCache"])
def test_a_cache_beside_kept_directions(host: Worker, node_id: str) -> None:
    options: dict[str, Any] = {"steps": STEPS, "reference_every": 2, "end_percent": 0.8}
    plain = host("accelerated.plain", **options)
    exact = host("accelerated.cached", node_id=node_id, patch_first=True, threshold=1e-9, **options)
    torch.testing.assert_close(exact["output"], plain)
    fast = host("accelerated.cached", node_id=node_id, patch_first=True, threshold=1e9, **options)
    assert len(fast["calls"]) < len(exact["calls"])
    assert torch.isfinite(fast["output"]).all()


@pytest.mark.newest_host
def test_a_compiled_model_samples_the_same(host: Worker) -> None:
    """Of audio and video together, the larger graph of the two; compiling takes a while."""
    got = host("accelerated.compiled", patch_first=True, has_audio=True, placement="tass")
    assert got["num_graphs"] > 0
    assert difference(got["compiled"], got["plain"]) < 1e-4


@pytest.mark.parametrize("placement", ["tass", "strata"])
@pytest.mark.parametrize("has_audio", [False, True])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_another_attention_is_used_throughout(
    host: Worker, placement: str, has_audio: bool, strength: float
) -> None:
    got = host(
        "accelerated.with_other_attention",
        placement=placement,
        has_audio=has_audio,
        strength=strength,
    )
    assert got["num_calls"] > 0
    for other, plain in zip(got["other"], got["plain"], strict=True):
        assert difference(other, plain) < 1e-4


@pytest.mark.parametrize("weight_dtype", ["fp8_e4m3fn", "fp8_e5m2"])
def test_fp8_weights_are_the_rounded_ones(host: Worker, weight_dtype: str) -> None:
    got = host("accelerated.in_fp8", weight_dtype=weight_dtype)
    assert difference(got["fp8"], got["rounded"]) < 1e-5
    assert difference(got["fp8"], got["exact"]) > 1e-3


def test_a_patcher_like_ggufs_keeps_its_class_and_its_weights(host: Worker) -> None:
    got = host("accelerated.quantized")
    assert got["class"] == "QuantizedPatcher"
    assert got["num_quantized"] > 50
    assert difference(got["quantized"], got["rounded"]) < 1e-5
    assert difference(got["quantized"], got["exact"]) > 1e-4


def test_ggufs_own_loader(host: Worker, gguf_folder: str, tmp_path: Path) -> None:
    """From its public repository; needs the package gguf in ComfyUI's Python."""
    got = host("gguf.sample", folder=gguf_folder, file_folder=str(tmp_path), placement="tass")
    assert got["class"] == "GGUFModelPatcher"
    assert difference(got["gguf"], got["dequantized"]) < 1e-4
    assert difference(got["gguf"], got["exact"]) > 1e-4


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())
