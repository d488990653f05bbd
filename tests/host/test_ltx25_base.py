"""A LoRA that was trained on another version of LTX than the model is told of on the node."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.comfyui import Worker
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.host

FACTS = {
    "format_version": 1,
    "placement": "overlap",
    "reference_timestep": "clean",
    "text_scale": 5.0,
    "reference_scale": 7.5,
    "base_model": "base.safetensors",
    "config_sha256": "0" * 64,
}
AUTO = ["patch", ["auto", "auto"]]
LAYER = "diffusion_model.transformer_blocks.0.attn1.to_q"
LORA = Callable[..., str]


@pytest.fixture
def lora(tmp_path: Path, mini_checkpoint: Path) -> LORA:
    """Writes a LoRA of one layer, with the changed facts of ST-DRC or other metadata."""
    width = load_file(mini_checkpoint)[f"model.{LAYER}.weight"].shape[0]
    tensors = {
        f"{LAYER}.lora_A.weight": torch.full((2, width), 0.01),
        f"{LAYER}.lora_B.weight": torch.full((width, 2), 0.01),
    }

    def write(changes: dict[str, Any] | None = None, **metadata: str) -> str:
        if changes is not None:
            metadata["stdrc"] = json.dumps(FACTS | changes)
        path = tmp_path / f"{tmp_path.name}_{len(list(tmp_path.iterdir()))}.safetensors"
        save_file(tensors, path, metadata)
        return str(path)

    return write


def said(host: Worker, chain: list[list[Any]], version: str) -> tuple[str, str]:
    """What the log says at the start of a run: level and sentence."""
    if version == "2.5" and not host("backbone.knows_ltx_2_5"):
        pytest.skip("this ComfyUI does not know LTX-2.5")
    ((level, sentence),) = host("weights.run", chain=chain, version=version)["said"]
    return level, sentence


@pytest.mark.parametrize(("recorded", "loaded"), [("2.3", "2.5"), ("2.5", "2.3"), ("2.0", "2.3")])
@pytest.mark.parametrize("order", ["lora, patch", "patch, lora"])
def test_the_log_tells_of_it_wherever_the_lora_stands(
    host: Worker, lora: LORA, recorded: str, loaded: str, order: str
) -> None:
    nodes = {"lora": ["lora", lora({"base_version": recorded})], "patch": AUTO}
    level, sentence = said(host, [nodes[name] for name in order.split(", ")], loaded)
    assert level == "WARNING"
    assert "layout overlap, clean, which the weights were trained for" in sentence
    assert f"The model is LTX-{loaded}, and an ST-DRC LoRA on it" in sentence
    assert "base.safetensors" in sentence
    assert sentence.endswith(f"load LTX-{recorded}, or weights for LTX-{loaded}.")


@pytest.mark.parametrize("loaded", ["2.3", "2.5"])
def test_the_node_shows_it(host: Worker, lora: LORA, loaded: str) -> None:
    recorded = {"2.3": "2.5", "2.5": "2.3"}[loaded]
    chain = [["lora", lora({"base_version": recorded})]]
    said(host, [*chain, AUTO], loaded)
    shown = host("weights.shown_on_node", chain=chain, version=loaded)
    assert f"The model is LTX-{loaded}, and an ST-DRC LoRA" in shown


@pytest.mark.parametrize("loaded", ["2.3", "2.5"])
def test_weights_of_its_own_version_and_those_that_say_none_are_not_told_of(
    host: Worker, lora: LORA, loaded: str
) -> None:
    for changes in ({"base_version": loaded}, {}):
        level, sentence = said(host, [["lora", lora(changes)], AUTO], loaded)
        assert level == "INFO"
        assert "The model is" not in sentence
    level, sentence = said(host, [["lora", lora()], AUTO], loaded)
    assert level == "INFO"
    assert "do not say what they were trained for" in sentence


@pytest.mark.parametrize("loaded", ["2.3", "2.5"])
def test_a_choice_by_hand_is_told_of_too(host: Worker, lora: LORA, loaded: str) -> None:
    recorded = {"2.3": "2.5", "2.5": "2.3"}[loaded]
    path = lora(ss_ltx_version=recorded)
    level, sentence = said(host, [["lora", path], ["patch", ["overlap", "clean"]]], loaded)
    assert level == "WARNING"
    assert f"The model is LTX-{loaded}, and a LoRA on it is for LTX-{recorded}" in sentence


def test_a_known_adapter_on_another_version(host: Worker) -> None:
    said(host, [AUTO], "2.5")
    files = [
        "faces/Best_FaceID_v1.0_LoRA.safetensors",
        "ltx-2.3-22b-distilled-lora-384.safetensors",
    ]
    sentence = host("weights.decide", chain=[], lora_files=files, version="2.5")
    assert "The model is LTX-2.5, and Best-Face-ID v1.0 is for LTX-2.3" in sentence
    assert f"The model is LTX-2.5, and the LoRA {files[1]} is for LTX-2.3" in sentence
    assert "The model is" not in host("weights.decide", chain=[], lora_files=files)


@pytest.mark.parametrize("is_compiled", [False, True])
def test_the_models_version_is_known_compiled_too(host: Worker, is_compiled: bool) -> None:
    assert host("weights.version", is_compiled=is_compiled) == "2.3"
