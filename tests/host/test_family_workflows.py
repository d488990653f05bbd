"""The workflows of the adapter families, run through the queue with the miniature for LTX-2.3."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.comfyui_server import Server
from helpers.shipped_workflows import api_workflow, make_placeholders, page_workflow
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
            case "VAEDecodeTiled":
                # The second stage needs a model of its own; what nothing needs does not run.
                inputs["samples"] = [first_sampler(workflow), 0]
    return workflow


def first_sampler(workflow: dict[str, Any]) -> str:
    samplers = (k for k, v in workflow.items() if v["class_type"] == "SamplerCustomAdvanced")
    return min(samplers, key=int)


@pytest.mark.parametrize("name", LAYOUTS)
def test_its_first_stage_makes_a_clip_with_its_references_where_they_belong(
    server: Server, name: str
) -> None:
    make_placeholders(page_workflow(f"stdrc_ltx23_{name}"), server.base)
    used = on_the_miniature(api_workflow(f"stdrc_ltx23_{name}"))
    patch = next(v["inputs"] for v in used.values() if v["class_type"] == "STDRCApplyTASSRoPE")
    lora = used[patch["model"][0]]["inputs"].get("lora_name")
    if lora is not None:
        write_tiny_lora(server.base / "models" / "loras" / lora, 0)

    earlier = len(server.log())
    history, _ = server.complete(used)
    (save,) = (k for k, v in used.items() if v["class_type"] == "SaveVideo")
    (clip,) = history["outputs"][save]["images"]
    assert clip["filename"].startswith(f"stdrc_ltx23_{name}")
    assert f"Reference layout {LAYOUTS[name]}" in server.log()[earlier:]
    inspect = [k for k, v in used.items() if v["class_type"] == "STDRCInspect"]
    num_lists = sum(v["class_type"] == "STDRCReferenceList" for v in used.values())
    for node in inspect:
        (report,) = history["outputs"][node]["text"]
        assert f"Reference {num_lists}: slot {num_lists - 1}" in report
    assert bool(inspect) == bool(num_lists)
