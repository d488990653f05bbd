"""Which LoRAs of a workflow are on the model: core's loaders, and those of popular packs."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from helpers.comfyui import Worker

pytestmark = pytest.mark.host

A, B, C = "a.safetensors", "faces/b.safetensors", "c.safetensors"
MODEL = ["base", 0]

# A loader's inputs beside the model, and its LoRAs on the model in the order of applying them.
LOADERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "core": ({"lora_name": A, "strength_model": 1.0, "strength_clip": 0.0}, [A]),
    "core at 0": ({"lora_name": A, "strength_model": 0.0, "strength_clip": 1.0}, []),
    "core at 0 as an integer": ({"lora_name": A, "strength_model": 0}, []),
    "core below 0": ({"lora_name": A, "strength_model": -0.5}, [A]),
    "no choice": ({"lora_name": "None", "strength_model": 1.0}, []),
    "rgthree's power loader": (
        {
            "PowerLoraLoaderHeaderWidget": {"type": "PowerLoraLoaderHeaderWidget"},
            "lora_1": {"on": True, "lora": A, "strength": 1},
            "lora_2": {"on": False, "lora": B, "strength": 1},
            "lora_3": {"on": True, "lora": C, "strength": 0.6},
            "lora_4": {"on": True, "lora": "None", "strength": 1},
            "Add Lora": "",
        },
        [A, C],
    ),
    "rgthree's two strengths": (
        {
            "lora_1": {"on": True, "lora": A, "strength": 0, "strengthTwo": 1},
            "lora_2": {"on": True, "lora": B, "strength": 1, "strengthTwo": 0},
            "lora_3": {"on": True, "lora": C, "strength": 0, "strengthTwo": None},
        },
        [B],
    ),
    "rgthree's stack": (
        {
            **{"lora_01": A, "strength_01": 1.0, "lora_02": "None", "strength_02": 1.0},
            **{"lora_03": B, "strength_03": 0.0, "lora_04": C, "strength_04": 0.5},
        },
        [A, C],
    ),
    "efficiency's stacker, simple": (
        {
            **{"input_mode": "simple", "lora_count": 2},
            **{"lora_name_1": A, "lora_wt_1": 1.0, "model_str_1": 0.0, "clip_str_1": 1.0},
            **{"lora_name_2": B, "lora_wt_2": 0.0, "model_str_2": 1.0, "clip_str_2": 1.0},
            **{"lora_name_3": C, "lora_wt_3": 1.0, "model_str_3": 1.0, "clip_str_3": 1.0},
        },
        [A],
    ),
    "efficiency's stacker, advanced": (
        {
            **{"input_mode": "advanced", "lora_count": 3},
            **{"lora_name_1": A, "lora_wt_1": 1.0, "model_str_1": 0.0, "clip_str_1": 1.0},
            **{"lora_name_2": B, "lora_wt_2": 0.0, "model_str_2": 1.0, "clip_str_2": 0.0},
            **{"lora_name_3": "None", "lora_wt_3": 1.0, "model_str_3": 1.0, "clip_str_3": 1.0},
        },
        [B],
    ),
    "Comfyroll's stack": (
        {
            **{"switch_1": "On", "lora_name_1": A, "model_weight_1": 1.0, "clip_weight_1": 1.0},
            **{"switch_2": "Off", "lora_name_2": B, "model_weight_2": 1.0, "clip_weight_2": 1.0},
            **{"switch_3": "On", "lora_name_3": C, "model_weight_3": 0.0, "clip_weight_3": 1.0},
        },
        [A],
    ),
    "Comfyroll's one": (
        {"switch": "Off", "lora_name": A, "strength_model": 1.0, "strength_clip": 1.0},
        [],
    ),
    "easy-use's stack": (
        {
            **{"toggle": True, "mode": "simple", "num_loras": 2},
            **{"lora_1_name": A, "lora_1_strength": 1.0, "lora_1_model_strength": 0.0},
            **{"lora_2_name": B, "lora_2_strength": 0.0, "lora_2_model_strength": 1.0},
            **{"lora_3_name": C, "lora_3_strength": 1.0, "lora_3_model_strength": 1.0},
        },
        [A],
    ),
    "easy-use's stack, off": (
        {"toggle": False, "mode": "simple", "num_loras": 1, "lora_1_name": A},
        [],
    ),
    "LoRA Manager": (
        {
            "text": "<lora:a:1>",
            "loras": {
                "__value__": [
                    {"name": "a", "strength": "0.80", "active": True},
                    {"name": "b", "strength": 1, "active": False},
                    {"name": "c", "strength": "0.00", "clipStrength": 1, "active": True},
                    {"name": "d", "strength": 1, "clipStrength": "0", "active": True},
                ]
            },
        },
        ["a", "d"],
    ),
    "a list of lists": ({"lora_stack": [[A, 1.0, 1.0], [B, 0.0, 1.0], ["None", 1, 1]]}, [A]),
    "text of JSON": (
        {"lora_config": json.dumps([{"enabled": True, "lora": A}, {"enabled": False, "lora": B}])},
        [A],
    ),
    "text that only looks like JSON": ({"lora_name": "[style] a.safetensors"}, None),
    "KJNodes' per-layer loader": (
        {"lora_name": A, "strength_model": 1.0, "video": 0.0, "audio": 1.0, "other": 1.0},
        [A],
    ),
    "a switch of the whole node": ({"lora_1": A, "on": True}, [A]),
    "a strength that comes from a node": ({"lora_name": A, "strength_model": ["number", 0]}, []),
    "a name that comes from a node": ({"lora_name": ["text", 0], "strength_model": 1.0}, [B]),
    "a strength that nobody knows": ({"lora_name": A, "strength_model": ["sum", 0]}, [A]),
}
NODES = {
    "base": {"inputs": {"ckpt_name": "ltx.safetensors"}},
    "number": {"inputs": {"value": 0.0}},
    "text": {"inputs": {"value": B}},
    "sum": {"inputs": {"a": 1.0, "b": ["number", 0]}},
}


@pytest.mark.parametrize("loader", LOADERS)
def test_only_what_a_loader_puts_on_the_model_counts(host: Worker, loader: str) -> None:
    inputs, applied = LOADERS[loader]
    if applied is None:
        applied = [inputs["lora_name"]]
    graph = NODES | {
        "loader": {"inputs": {**inputs, "model": MODEL}},
        "patch": {"inputs": {"model": ["loader", 0]}},
    }
    assert host("weights.lora_files", graph=graph, node_id="patch") == applied[::-1]


def test_the_nearest_loader_comes_first_and_in_it_the_last_that_it_applies(host: Worker) -> None:
    """Chains of these loaders in random order: what was applied last is named first."""
    rng = random.Random(5)
    names = [name for name, (_, applied) in LOADERS.items() if applied is not None]
    for _ in range(10):
        chain = rng.sample(names, k=5)
        graph, before, applied = dict(NODES), "base", []
        for name in chain:
            inputs, own = LOADERS[name]
            graph[name] = {"inputs": {"model": [before, 0], **inputs}}
            before, applied = name, [*applied, *own]
        graph["patch"] = {"inputs": {"model": [before, 0]}}
        assert host("weights.lora_files", graph=graph, node_id="patch") == applied[::-1]


def test_stacks_that_are_linked_to_a_loader_are_on_its_model(host: Worker) -> None:
    """The stacks that come in are applied before a stacker's own; two that are a loop end."""
    graph = NODES | {
        "first": {"inputs": {"lora_name_1": A, "lora_wt_1": 1.0}},
        "second": {"inputs": {"lora_name_1": B, "lora_wt_1": 1.0, "lora_stack": ["first", 0]}},
        "apply": {"inputs": {"lora_stack": ["second", 0], "model": MODEL}},
        "own": {"inputs": {"lora_name": C, "strength_model": 1.0, "model": ["apply", 0]}},
        "patch": {"inputs": {"model": ["own", 0]}},
    }
    assert host("weights.lora_files", graph=graph, node_id="patch") == [C, B, A]
    graph["first"]["inputs"]["lora_stack"] = ["second", 0]
    assert host("weights.lora_files", graph=graph, node_id="patch") == [C, B, A]
