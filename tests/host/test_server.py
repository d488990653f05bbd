"""The main job on real photos: a headless ComfyUI, its queue, an MP4 on disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from helpers.clips import decode, frame_rate
from helpers.comfyui import PACK_NAME
from helpers.comfyui_server import Server
from helpers.real_photo import write_astronaut
from helpers.shipped_workflows import (
    API,
    WORKFLOWS,
    api_workflow,
    knows_input,
    make_placeholders,
    models_of,
    page_workflow,
)
from helpers.tiny_lora import write_tiny_lora

pytestmark = pytest.mark.host

NUM_FRAMES, SIZE, FRAME_RATE = 17, 128, 24
SCALES = ("text_scale", "reference_scale")
# ComfyUI 0.22 passes over these inputs; 0.33's page queues them, and comfy-cli asks for the first.
OF_NEWER_HOSTS = {
    "SaveVideo": {"format.codec"},
    "CreateVideo": {"bit_depth"},
    "ContextWindowsManual": {"latent_retain_index_list"},
}


def astronaut(folder: Path) -> Path:
    return write_astronaut(folder / "astronaut.png")


def t1(folder: Path) -> Path:
    """InsightFace's bundled group photo."""
    insightface = pytest.importorskip("insightface", reason="pip install -r requirements-dev.txt")
    source = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    return Path(shutil.copy(source, folder))


PHOTOS = {"astronaut": astronaut, "t1": t1}


def mini_workflow(**changes: dict[str, Any]) -> dict[str, Any]:
    """workflows/api/stdrc_mini.json, with inputs changed by node class."""
    workflow = api_workflow("stdrc_mini")
    for class_type, inputs in changes.items():
        nodes = [node for node in workflow.values() if node["class_type"] == class_type]
        assert nodes, class_type
        for node in nodes:
            node["inputs"] |= inputs
    return workflow


def photo_workflow(photo: str, **changes: dict[str, Any]) -> dict[str, Any]:
    """The same with an uploaded photo where the miniature's character was."""
    workflow = mini_workflow(**changes)
    (character,) = (n for n in workflow.values() if n["class_type"] == "STDRCMiniCharacter")
    character |= {"class_type": "LoadImage", "inputs": {"image": photo}}
    return workflow


def saved_videos(history: dict[str, Any], base: Path) -> list[Path]:
    files = [
        file
        for output in history["outputs"].values()
        for file in output.get("images", [])
        if file["type"] == "output" and file["filename"].endswith(".mp4")
    ]
    return [base / "output" / file["subfolder"] / file["filename"] for file in files]


def check_video(path: Path) -> np.ndarray:
    frames = decode(path)
    assert frames.shape == (NUM_FRAMES, SIZE, SIZE, 3)
    assert frame_rate(path) == FRAME_RATE
    assert frames.std() > 5
    return frames


@pytest.mark.parametrize("photo", PHOTOS)
def test_a_real_photo_goes_through_the_queue_to_an_mp4(
    server: Server, tmp_path: Path, photo: str
) -> None:
    name = server.upload(PHOTOS[photo](tmp_path))
    history, messages = server.complete(
        photo_workflow(name, STDRCThreeStreamSampler={"noise_seed": 11})
    )
    (video,) = saved_videos(history, server.base)
    check_video(video)

    workflow = mini_workflow()
    sampler = next(k for k, v in workflow.items() if v["class_type"] == "STDRCThreeStreamSampler")
    steps = next(v["inputs"]["steps"] for v in workflow.values() if "steps" in v["inputs"])
    progress = [m["data"] for m in messages if m["type"] == "progress"]
    sampled = [p for p in progress if p["node"] == sampler]
    values = [p["value"] for p in sampled]
    assert values == sorted(values)
    assert values[-1] == steps
    assert all(p["max"] == steps for p in sampled)
    encoder = next(k for k, v in workflow.items() if v["class_type"] == "STDRCEncodeReference")
    shown = [
        m["data"]["output"]["images"]
        for m in messages
        if m["type"] == "executed" and m["data"]["node"] == encoder
    ]
    assert len(shown) == 1
    assert shown[0][0]["type"] == "temp"


def test_two_people_with_a_public_adapter_go_through_the_queue(server: Server) -> None:
    """auto knows the adapter by the file's name, and Inspect References tells it all beforehand."""
    name = "Best_FaceID_v1.0_LoRA.safetensors"
    write_tiny_lora(server.base / "models" / "loras" / "faces" / name)

    workflow = mini_workflow()
    ids = {node["class_type"]: each for each, node in workflow.items()}
    sampler = workflow[ids["STDRCThreeStreamSampler"]]["inputs"]
    patch = workflow[ids["STDRCApplyTASSRoPE"]]["inputs"]

    def add(node_id: str, class_type: str, **inputs: Any) -> list[Any]:
        workflow[node_id] = {"class_type": class_type, "inputs": inputs}
        return [node_id, 0]

    patch["model"] = add(
        "lora",
        "LoraLoaderModelOnly",
        model=patch["model"],
        lora_name=f"faces/{name}",
        strength_model=1.0,
    )
    other = workflow[ids["STDRCEncodeReference"]]["inputs"] | {
        "image": add("man", "STDRCMiniCharacter", seed=8)
    }
    options = {"strength": 1.0, "scale": 1.0, "slot": -1}
    first = add("first", "STDRCReferenceList", reference=sampler["reference"], **options)
    sampler["reference"] = add(
        "second",
        "STDRCReferenceList",
        reference=add("other", "STDRCEncodeReference", **other),
        references=first,
        **options,
    )
    shared = ("model", "positive", "negative", "reference", "latent_image", *SCALES)
    add("inspect", "STDRCInspect", **{each: sampler[each] for each in shared})

    history, _ = server.complete(workflow)
    (video,) = saved_videos(history, server.base)
    check_video(video)
    (report,) = history["outputs"]["inspect"]["text"]
    assert report.startswith("Nothing wrong was found.")
    for part in ("overlap_source_phase, clean", name, "ref_t2v: ", "Reference 2: slot 1"):
        assert part in report
    log = server.log()
    assert f"(by its file name, faces/{name}) was trained for" in log
    # What the host says of a LoRA that does not fit.
    assert "ERROR lora" not in log


def test_seed_and_reference_make_the_clip(server: Server, tmp_path: Path) -> None:
    photos = {name: server.upload(photo(tmp_path)) for name, photo in PHOTOS.items()}

    def clip(photo: str, seed: int) -> np.ndarray:
        server.forget()
        history, _ = server.run(
            photo_workflow(photos[photo], STDRCThreeStreamSampler={"noise_seed": seed})
        )
        (video,) = saved_videos(history, server.base)
        return check_video(video)

    first = clip("astronaut", 1)
    assert np.array_equal(clip("astronaut", 1), first)
    assert not np.array_equal(clip("astronaut", 2), first)
    assert not np.array_equal(clip("t1", 1), first)


def test_comfy_cli_runs_the_workflow(server: Server, tmp_path: Path) -> None:
    workflow = tmp_path / "stdrc_mini.json"
    workflow.write_text(
        json.dumps(mini_workflow(SaveVideo={"filename_prefix": "from_the_command_line"}))
    )
    comfy = Path(sys.executable).with_name("comfy")
    # comfy-cli keeps its settings in the home directory: a home of its own leaves the user's alone.
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    subprocess.run(
        [comfy, "--skip-prompt", "tracking", "disable"],
        env=environment,
        check=True,
        capture_output=True,
    )
    run = subprocess.run(
        [
            *(comfy, "--skip-prompt", "run", "--workflow", workflow, "--wait"),
            *("--host", "127.0.0.1", "--port", str(server.port), "--timeout", "120"),
        ],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (video,) = (server.base / "output").glob("from_the_command_line*.mp4")
    check_video(video)


def test_a_mistake_ends_the_queued_job_with_its_sentence(server: Server, tmp_path: Path) -> None:
    name = server.upload(astronaut(tmp_path))
    workflow = photo_workflow(name)
    wider = {
        "class_type": "EmptyLTXVLatentVideo",
        "inputs": {"width": 320, "height": 256, "length": 17, "batch_size": 1},
    }
    sampler = next(v for v in workflow.values() if v["class_type"] == "STDRCThreeStreamSampler")
    sampler["inputs"]["latent_image"] = ["wider", 0]
    _, messages = server.run(workflow | {"wider": wider})
    (error,) = [m["data"] for m in messages if m["type"] == "execution_error"]
    assert error["exception_type"] == "ValueError"
    assert error["node_type"] == "STDRCThreeStreamSampler"
    for part in ("reference", "4 x 4", "8 x 10"):
        assert part in error["exception_message"]


@pytest.mark.parametrize("workflow", sorted(API.rglob("*.json")), ids=lambda p: p.name)
def test_workflows_use_core_nodes_and_ours_with_valid_inputs(
    server: Server, workflow: Path
) -> None:
    known = server.object_info()
    for node in json.loads(workflow.read_text()).values():
        class_type = node["class_type"]
        assert class_type in known, class_type
        module = known[class_type]["python_module"]
        ours = class_type.startswith("STDRC")
        assert ours == module.startswith("custom_nodes"), module
        declared = known[class_type]["input"]
        assert set(declared.get("required", {})) <= {name.split(".")[0] for name in node["inputs"]}
        unknown = {name for name in node["inputs"] if not knows_input(declared, name)}
        assert unknown <= OF_NEWER_HOSTS.get(class_type, set()), class_type


@pytest.mark.parametrize(
    "name", sorted(p.stem for p in WORKFLOWS.glob("*.json") if "stdrc_mini" not in p.stem)
)
def test_the_queue_accepts_the_workflow_and_only_lacks_its_models(
    server: Server, name: str
) -> None:
    """Choices, ranges and types of links are right: what stops the job is an empty model file."""
    page_form = page_workflow(name)
    make_placeholders(page_form, server.base)
    _, messages = server.run(api_workflow(name))
    (error,) = [m["data"] for m in messages if m["type"] == "execution_error"]
    assert error["node_type"] in {node_type for node_type, _ in models_of(page_form)}


def test_a_guidance_curve_goes_through_the_queue(server: Server) -> None:
    workflow = mini_workflow()
    sampler = next(v for v in workflow.values() if v["class_type"] == "STDRCThreeStreamSampler")
    curve = {"start": 3.0, "end": 1.0, "shape": "late", "start_sigma": 1.0, "end_sigma": 0.5}
    workflow["curve"] = {"class_type": "STDRCGuidanceCurve", "inputs": curve}
    sampler["inputs"] |= {
        "text_curve": ["curve", 0],
        "reference_curve": ["curve", 0],
        "guidance_rescale": 0.7,
        "reference_every": 3,
    }
    history, _ = server.complete(workflow)
    (video,) = saved_videos(history, server.base)
    check_video(video)


def test_every_node_has_a_help_page_that_names_its_inputs(server: Server) -> None:
    nodes = {k: v for k, v in server.object_info().items() if k.startswith("STDRC")}
    assert len(nodes) == 14
    for name, node in nodes.items():
        page = requests.get(f"{server.url}/extensions/{PACK_NAME}/docs/{name}.md", timeout=60)
        assert page.ok, name
        assert page.text.startswith(f"# {node['display_name']}\n")
        for part in (*node["input"].get("required", {}), *node["input"].get("optional", {})):
            assert f"**{part}**" in page.text, (name, part)
        for output in node["output_name"]:
            assert f"**{output}**" in page.text, (name, output)
