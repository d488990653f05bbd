"""The workflows of the adapter families, run through the queue with the miniature for LTX-2.3."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from helpers.comfyui import ComfyUI
from helpers.comfyui_server import Server
from helpers.shipped_workflows import api_workflow, make_placeholders, models_of, page_workflow
from helpers.tiny_lora import write_tiny_lora

pytestmark = pytest.mark.host

# Each workflow, and where the log has to say that its references stand.
TURNED = "clean, source_id 2, phase_scale 1"
LAYOUTS = {
    "best_face_id": f"overlap_source_phase, {TURNED}, which Best-Face-ID v1.0 (by its file",
    "character_sheet": f"overlap_source_phase, {TURNED}, which Best-Face-ID character sheet v1.0",
    "two_people": "tass, clean, which the weights were trained for",
    # The miniature was trained for another placement, and is warned of.
    "stacked": f"strata, {TURNED}, but",
    "side_by_side": f"sidecar, {TURNED}, but",
    "bfs_st_drc": f"bfs_st_drc, {TURNED}, but",
    "two_stage": "tass, clean, which the weights were trained for",
    "distilled": "tass, clean, which the weights were trained for",
}


def on_the_miniature(workflow: dict[str, Any]) -> dict[str, Any]:
    """The first stage at the miniature's size, with its prompts in place of Gemma's."""
    for node in workflow.values():
        inputs = node["inputs"]
        match node["class_type"]:
            case "CheckpointLoaderSimple":
                inputs["ckpt_name"] = "stdrc_mini.safetensors"
            case "CLIPTextEncode":
                text = "a person with red stripes" if inputs["text"] else ""
                node |= {"class_type": "STDRCMiniPrompt", "inputs": {"text": text}}
            case "EmptyLTXVLatentVideo":
                inputs |= {"width": 128, "height": 128, "length": 17}
            case "LTXVScheduler":
                inputs["steps"] = 2
            case "ManualSigmas":
                inputs["sigmas"] = "1.0, 0.9, 0.0"
            case "VAEDecodeTiled":
                # The second stage needs a model of its own; what nothing needs does not run.
                inputs["samples"] = [first_sampler(workflow), 0]
    return workflow


def first_sampler(workflow: dict[str, Any]) -> str:
    samplers = (k for k, v in workflow.items() if v["class_type"] == "SamplerCustomAdvanced")
    # A node inside a box has the box's number before its own.
    return min(samplers, key=lambda key: int(key.split(":")[-1]))


def without_sound(workflow: dict[str, Any]) -> dict[str, Any]:
    """A workflow for LTX-2.5 with one checkpoint in place of its split files, and silent."""
    by_type = {node["class_type"]: key for key, node in workflow.items()}
    model = by_type["UNETLoader"]
    for node in workflow.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and workflow[value[0]]["class_type"] == "VAELoader":
                node["inputs"][name] = [model, 2]
    workflow[model] |= {"class_type": "CheckpointLoaderSimple", "inputs": {}}
    sampler = workflow[first_sampler(workflow)]["inputs"]
    sampler["latent_image"] = [by_type["EmptyLTXVLatentVideo"], 0]
    del workflow[by_type["CreateVideo"]]["inputs"]["audio"]
    for node in workflow.values():
        node["inputs"].pop("audio_scale", None)
    return workflow


@pytest.mark.parametrize("name", LAYOUTS)
def test_its_first_stage_makes_a_clip_with_its_references_where_they_belong(
    server: Server, name: str
) -> None:
    make_placeholders(page_workflow(f"stdrc_ltx23_{name}"), server.base)
    used = on_the_miniature(api_workflow(f"stdrc_ltx23_{name}"))
    check_its_first_stage(server, used, f"stdrc_ltx23_{name}", LAYOUTS[name])


@pytest.mark.parametrize("name", ["stdrc_ltx25_two_stage", "stdrc_ltx25_distilled"])
def test_the_first_stage_for_ltx25_makes_a_clip_but_for_its_sound(
    server: Server, name: str
) -> None:
    make_placeholders(page_workflow(name), server.base)
    used = on_the_miniature(without_sound(api_workflow(name)))
    check_its_first_stage(server, used, name, LAYOUTS["two_stage"])


def check_its_first_stage(server: Server, used: dict[str, Any], name: str, layout: str) -> None:
    patch = next(v["inputs"] for v in used.values() if v["class_type"] == "STDRCApplyTASSRoPE")
    lora = used[patch["model"][0]]["inputs"].get("lora_name")
    if lora is not None:
        write_tiny_lora(server.base / "models" / "loras" / lora, 0)

    earlier = len(server.log())
    history, _ = server.complete(used)
    (save,) = (k for k, v in used.items() if v["class_type"] == "SaveVideo")
    (clip,) = history["outputs"][save]["images"]
    assert clip["filename"].startswith(name)
    assert f"Reference layout {layout}" in server.log()[earlier:]
    inspect = [k for k, v in used.items() if v["class_type"] == "STDRCInspect"]
    num_lists = sum(v["class_type"] == "STDRCReferenceList" for v in used.values())
    for node in inspect:
        (report,) = history["outputs"][node]["text"]
        assert f"Reference {num_lists}: slot {num_lists - 1}" in report
    assert bool(inspect) == bool(num_lists)


# What carries sound and picture from the empty latents to the file.
CARRIERS = {
    "CreateVideo",
    "EmptyLTXVLatentVideo",
    "LTXVAudioVAEDecode",
    "LTXVConcatAVLatent",
    "LTXVEmptyLatentAudio",
    "LTXVLatentUpsampler",
    "LTXVSeparateAVLatent",
    "LatentUpscaleModelLoader",
    "SamplerCustomAdvanced",
    "VAEDecodeTiled",
    "VAELoader",
}


def ways(links: Iterable[tuple[str, int, str, str]]) -> Counter[tuple[str, int, str, str]]:
    """Of links (from, output, to, input), those among carriers."""
    return Counter(each for each in links if {each[0], each[2]} <= CARRIERS)


@pytest.fixture
def template(comfyui: ComfyUI) -> dict[str, Any]:
    """Core's own workflow for LTX-2.5."""
    packages = comfyui.python.parent.parent / "lib"
    name = "comfyui_workflow_templates_json/templates/video_ltx2_5_t2v.json"
    for path in packages.glob(f"python*/site-packages/{name}"):
        return json.loads(path.read_text())
    pytest.skip(f"this ComfyUI has no {name}: it knows no LTX-2.5")


@pytest.mark.parametrize("name", ["stdrc_ltx25_two_stage", "stdrc_ltx25_distilled"])
def test_sound_and_picture_go_the_way_of_cores_own_template(
    template: dict[str, Any], name: str
) -> None:
    (inside,) = template["definitions"]["subgraphs"]
    nodes = {node["id"]: node for node in inside["nodes"]}
    expected = ways(
        (
            nodes[link["origin_id"]]["type"],
            link["origin_slot"],
            nodes[link["target_id"]]["type"],
            nodes[link["target_id"]]["inputs"][link["target_slot"]]["name"],
        )
        for link in inside["links"]
        if {link["origin_id"], link["target_id"]} <= set(nodes)
    )
    workflow = api_workflow(name)
    got = ways(
        (workflow[value[0]]["class_type"], value[1], node["class_type"], key)
        for node in workflow.values()
        for key, value in node["inputs"].items()
        if isinstance(value, list)
    )
    assert got == expected


def test_the_files_of_the_distilled_one_are_those_of_cores_own_template(
    template: dict[str, Any],
) -> None:
    wanted = {
        model["name"]: model
        for _, model in models_of(template)
        # Core's template writes prompts with a model of its own, which is no part of ours.
        if "e2b" not in model["name"]
    }
    ours = {model["name"]: model for _, model in models_of(page_workflow("stdrc_ltx25_distilled"))}
    assert ours == wanted
