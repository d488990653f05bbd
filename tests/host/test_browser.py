"""The workflows in the real page: every node known, none in red, and the miniature's Run button."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import PROJECT
from helpers.comfyui_page import (
    INSPECT,
    close_dialogs,
    load,
    open_page,
    press_run,
    queue_form,
    visible_dialogs,
)
from helpers.comfyui_server import Server
from helpers.face_workflow import workflow as face_workflow
from helpers.shipped_workflows import knows_input, models_of, nodes_of, page_workflow, titled
from PIL import Image

from stdrc_core.faces.finder import open_face_pack
from stdrc_core.faces.photo import crop_box
from stdrc_core.faces.similarity import largest_faces
from stdrc_core.mini.shipped import FACES

pytestmark = [pytest.mark.host, pytest.mark.browser]

WORKFLOWS = sorted((PROJECT / "workflows").glob("*.json"))
# A node's modes in a saved workflow.
ALWAYS, BYPASS = 0, 4


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Any]:
    with open_page(server) as page:
        yield page


def with_face_detail(page: Any, name: str) -> dict[str, Any]:
    """The queue's format of a workflow whose bypassed box is switched on."""
    graph = page_workflow(name)
    bypassed = [node for node in graph["nodes"] if node["mode"] == BYPASS]
    assert [node["title"] for node in bypassed] == ["Face detail"]
    for node in bypassed:
        node["mode"] = ALWAYS
    load(page, graph)
    return queue_form(page)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_loads_without_a_missing_or_red_node(
    page: Any, workflow: Path, tmp_path: Path
) -> None:
    graph = json.loads(workflow.read_text())
    seen = load(page, graph)
    page.screenshot(path=tmp_path / "page.png")
    assert visible_dialogs(page) == []
    assert sorted(seen["nodes"]) == sorted(node["type"] for node in nodes_of(graph))
    assert seen["unknown"] == []
    assert seen["red"] == []
    assert not seen["errors"]
    inside = graph.get("definitions", {}).get("subgraphs", [])
    assert seen["links"] == sum(len(each["links"]) for each in (graph, *inside))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_without_its_files_only_what_names_one_is_red(page: Any, workflow: Path) -> None:
    text = workflow.read_text()
    graph = json.loads(text)
    for _, model in models_of(graph):
        text = text.replace(f'"{model["name"]}"', f'"absent_{model["name"]}"')
    boxes = {each["id"] for each in graph.get("definitions", {}).get("subgraphs", [])}
    seen = load(page, json.loads(text))
    assert seen["unknown"] == []
    assert set(seen["red"]) <= {node_type for node_type, _ in models_of(graph)} | boxes
    close_dialogs(page)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_queue_format_is_the_same_graph(page: Any, server: Server, workflow: Path) -> None:
    """What the page queues is in the file, with what only other hosts' nodes have besides."""
    load(page, json.loads(workflow.read_text()))
    from_page = queue_form(page)
    from_file = json.loads((workflow.parent / "api" / workflow.name).read_text())
    known = server.object_info()

    def plain(prompt: dict[str, Any]) -> dict[str, Any]:
        return {
            key: (
                node["class_type"],
                {
                    name: value
                    for name, value in node["inputs"].items()
                    if knows_input(known[node["class_type"]]["input"], name)
                },
            )
            for key, node in prompt.items()
        }

    assert plain(from_page) == plain(from_file)


def test_the_run_button_makes_the_miniature_clip(page: Any, server: Server) -> None:
    load(page, page_workflow("stdrc_mini"))
    before = set((server.base / "output").rglob("*.mp4"))
    server.forget()
    press_run(page)
    give_up_at = time.monotonic() + 120
    while (made := set((server.base / "output").rglob("*.mp4")) - before) == set():
        assert time.monotonic() < give_up_at, server.log()
        page.wait_for_timeout(500)
    assert len(made) == 1
    # The preview on Encode Reference Latent arrives at the page as well.
    page.wait_for_function(
        "app.graph.nodes.find((n) => n.type === 'STDRCEncodeReference').imgs?.length === 1",
        timeout=30_000,
    )
    # So does what Apply TASS-RoPE Patch read off the weights.
    page.wait_for_function(
        "app.graph.nodes.find((n) => n.type === 'STDRCApplyTASSRoPE')"
        ".widgets?.some((w) => String(w.value).includes('tass, clean, which the weights'))",
        timeout=30_000,
    )
    assert page.evaluate(INSPECT)["red"] == []


@pytest.mark.parametrize("name", ["stdrc_ltx23_staged", "stdrc_wan_vace_staged"])
def test_the_face_detail_box_fits_its_graph(page: Any, name: str) -> None:
    prompt = with_face_detail(page, name)
    (back,) = (n for n in prompt.values() if n["class_type"] == "ImageCompositeMasked")
    (best,) = (key for key, n in prompt.items() if n["class_type"] == "STDRCKeepBestIdentity")
    assert back["inputs"]["destination"] == [best, 0]
    details = prompt[titled(prompt, "Sample the face")]
    frames = prompt[titled(prompt, "Sample each seed")]
    # It says, is guided and is sampled as the first frames are, beside a reference of its size.
    for same in ("model", "positive", "negative", "text_scale", "reference_scale"):
        assert details["inputs"][same] == frames["inputs"][same]
    samplers = [prompt[each["inputs"]["sampler"][0]]["inputs"] for each in (details, frames)]
    assert samplers[0] == samplers[1]
    sources = [prompt[each["inputs"]["reference"][0]]["inputs"] for each in (details, frames)]
    for same in ("image", "mask"):
        assert sources[0][same] == sources[1][same]
    assert sources[0]["latent"] == details["inputs"]["latent_image"]


def test_the_face_detail_box_makes_the_face_anew_and_nothing_else(
    page: Any, server: Server
) -> None:
    prompt = with_face_detail(page, "stdrc_mini_staged")
    (kept,) = (key for key, n in prompt.items() if n["class_type"] == "STDRCKeepBestIdentity")
    (after,) = (key for key, n in prompt.items() if n["_meta"]["title"] == "The first frame")
    saved = {"filename_prefix": "before", "images": [kept, 0]}
    prompt["before"] = {"class_type": "SaveImage", "inputs": saved}
    # As far as the frame goes: the clip from it is the staged workflow's own test.
    for key in [key for key, n in prompt.items() if n["class_type"] == "SaveVideo"]:
        del prompt[key]
    history, _ = server.complete(prompt)
    pictures = []
    for node in ("before", after):
        (file,) = history["outputs"][node]["images"]
        path = server.base / "output" / file["subfolder"] / file["filename"]
        pictures.append(np.asarray(Image.open(path)).astype(int))
    changed = np.abs(pictures[1] - pictures[0]).max(axis=2) > 0
    (found,) = largest_faces(torch.from_numpy(pictures[0])[None].byte(), open_face_pack(FACES))
    left, top, right, bottom = crop_box(found.face, 0.5, *changed.shape)
    outside = changed.copy()
    outside[top:bottom, left:right] = False
    assert not outside.any()
    assert changed[top:bottom, left:right].mean() > 0.5
    # The same face in the same place: made anew, not another picture.
    middle = np.abs(pictures[1] - pictures[0])[top:bottom, left:right].mean()
    assert middle < 40


def test_face_nodes_show_their_number_and_their_plot(page: Any, server: Server) -> None:
    """The three nodes in one graph, built from the queue's format, and run by its button."""
    prompt = face_workflow(3, 4)
    page.evaluate("(prompt) => app.loadApiJson(prompt, 'faces')", prompt)
    page.wait_for_timeout(2000)
    seen = page.evaluate(INSPECT)
    assert visible_dialogs(page) == []
    assert sorted(seen["nodes"]) == sorted(node["class_type"] for node in prompt.values())
    assert (seen["unknown"], seen["red"]) == ([], [])
    server.forget()
    page.evaluate("() => app.queuePrompt(0)")
    page.wait_for_function(
        "app.graph.nodes.find((n) => n.type === 'STDRCArcFaceSimilarity').imgs?.length === 2",
        timeout=120_000,
    )
    page.wait_for_function(
        "app.graph.nodes.find((n) => n.type === 'STDRCArcFaceSimilarity')"
        ".widgets?.some((w) => String(w.value).includes('stdrc_mini on CPUExecutionProvider'))",
        timeout=30_000,
    )
    page.wait_for_function(
        "app.graph.nodes.find((n) => n.type === 'STDRCKeepBestIdentity')"
        ".widgets?.some((w) => String(w.value).includes('Kept 0 of 2'))",
        timeout=30_000,
    )
    page.wait_for_function(
        "app.graph.nodes.find((n) => n.type === 'STDRCPrepareReferencePhoto')"
        ".widgets?.some((w) => String(w.value).includes('The face is small'))",
        timeout=30_000,
    )
    assert page.evaluate(INSPECT)["red"] == []


def test_a_workflow_saved_before_auto_keeps_its_choice(page: Any) -> None:
    graph = page_workflow("stdrc_mini")
    (patch,) = (node for node in graph["nodes"] if node["type"] == "STDRCApplyTASSRoPE")
    # Widgets are saved by position.
    patch["widgets_values"] = ["overlap", "shared"]
    load(page, graph)
    prompt = queue_form(page)
    inputs = prompt[str(patch["id"])]["inputs"]
    assert (inputs["placement"], inputs["reference_timestep"]) == ("overlap", "shared")


@pytest.mark.parametrize(
    # LTX-2.5's are newer.
    "workflow",
    [path for path in WORKFLOWS if "ltx25" not in path.stem],
    ids=lambda path: path.stem,
)
def test_a_workflow_saved_before_guidance_over_time_keeps_its_values_and_links(
    page: Any, workflow: Path
) -> None:
    graph = json.loads(workflow.read_text())
    for node in nodes_of(graph):
        if node["type"].startswith("STDRCThreeStream"):
            # Widgets are saved by position, and the newest four stand last.
            del node["widgets_values"][-4:]
    load(page, graph)
    prompt = queue_form(page)
    saved = json.loads((workflow.parent / "api" / workflow.name).read_text())
    ours = {k: v for k, v in prompt.items() if v["class_type"].startswith("STDRCThreeStream")}
    assert ours
    for key, node in ours.items():
        # The exact guidance of then is the default of now.
        assert node["inputs"] == saved[key]["inputs"]


def test_template_browser_offers_the_workflows(server: Server) -> None:
    import requests

    templates = requests.get(f"{server.url}/workflow_templates", timeout=60).json()
    (ours,) = (names for pack, names in templates.items() if "STDRC" in pack)
    assert sorted(ours) == [path.stem for path in WORKFLOWS]
