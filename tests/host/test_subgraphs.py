"""The subgraphs in the real page: found by their names, dropped, and run with the miniature."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.clips import decode
from helpers.comfyui_page import INSPECT, load, open_page, press_run, queue_form, visible_dialogs
from helpers.comfyui_server import Server
from helpers.shipped_workflows import SUBGRAPHS, nodes_of, page_workflow

pytestmark = [pytest.mark.host, pytest.mark.browser]

FILES = sorted(SUBGRAPHS.glob("*.json"))
EMPTY = {"nodes": [], "links": [], "version": 0.4}


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Any]:
    with open_page(server) as page:
        yield page


def drop(page: Any, name: str) -> dict[str, Any]:
    """Finds it in the page's search and puts it onto an empty graph, as a user does."""
    load(page, EMPTY)
    for _ in range(3):
        # Right after a drop the page takes no double click.
        page.mouse.dblclick(1300, 800)
        page.wait_for_timeout(1500)
        if page.evaluate("() => document.activeElement.tagName === 'INPUT'"):
            break
    # The page's search gives up on long words.
    page.keyboard.type(name[:20])
    page.wait_for_timeout(1500)
    found = page.locator("[role=option]:visible").filter(has_text=name)
    found.first.click()
    page.wait_for_timeout(1000)
    # Newer pages hang what was chosen on the pointer until the next click.
    page.mouse.click(1300, 800)
    page.wait_for_timeout(1000)
    return page.evaluate(INSPECT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_found_and_dropped_as_it_is_in_the_file(page: Any, path: Path) -> None:
    graph = json.loads(path.read_text())
    (box,) = graph["nodes"]
    (definition,) = graph["definitions"]["subgraphs"]
    seen = drop(page, path.stem)
    assert visible_dialogs(page) == []
    assert (seen["unknown"], seen["red"]) == ([], [])
    assert not seen["errors"]
    (dropped,) = seen["boxes"]
    assert dropped["title"] == path.stem
    for slots in ("inputs", "outputs"):
        assert dropped[slots] == [slot["name"] for slot in box[slots]]
    assert dropped["values"] == box["widgets_values"]
    # The box's own type is a number that the page gives anew.
    inside = [node["type"] for node in nodes_of(graph) if node is not box]
    assert len(seen["nodes"]) == 1 + len(inside)
    for kind in set(inside):
        assert seen["nodes"].count(kind) == inside.count(kind)
    assert seen["links"] == len(definition["links"])


def test_two_of_one_kind_keep_values_of_their_own(page: Any) -> None:
    """A dropped box is a copy: changing it changes no other."""
    name = "ST-DRC reference"
    load(page, EMPTY)
    drop(page, name)
    values = page.evaluate(
        """async () => {
            const [first] = app.graph.nodes;
            app.canvas.selectItems([first]);
            app.canvas.copyToClipboard();
            app.canvas.pasteFromClipboard();
            const [one, other] = app.graph.nodes;
            const scale = one.widgets.find((widget) => widget.name === 'text_scale');
            scale.value = 3;
            return [one, other].map((box) => box.widgets.map((widget) => widget.value));
        }"""
    )
    assert values == [["auto", "pad", 3, 7.5], ["auto", "pad", 5, 7.5]]


def on_the_miniature(graph: dict[str, Any]) -> dict[str, Any]:
    """A page-form workflow with the miniature's loader, prompts, character and size.

    What stands inside a box is set there and, for a page that keeps it on the box, on it.
    """
    of_type = {}
    for node in nodes_of(graph):
        of_type.setdefault(node["type"], []).append(node)
    (loader,) = of_type["CheckpointLoaderSimple"]
    loader["widgets_values"] = ["stdrc_mini.safetensors"]
    (encoder,) = of_type["LTXAVTextEncoderLoader"]
    graph["nodes"].remove(encoder)
    (photo,) = of_type["LoadImage"]
    photo |= {"type": "STDRCMiniCharacter", "inputs": [], "widgets_values": [7, "fixed"]}
    photo["outputs"] = photo["outputs"][:1]
    gone = {link[0] for link in graph["links"] if link[1] == encoder["id"]}
    gone |= {link[0] for link in graph["links"] if link[1:3] == [photo["id"], 1]}
    graph["links"] = [link for link in graph["links"] if link[0] not in gone]
    for slot in (slot for node in graph["nodes"] for slot in node["inputs"]):
        if slot["link"] in gone:
            slot["link"] = None

    # The miniature reads its prompts without a text encoder.
    (prompts,) = [box for box in graph["nodes"] if box.get("title") == "Prompt and size"]
    (inside,) = [d for d in graph["definitions"]["subgraphs"] if d["id"] == prompts["type"]]
    prompts["inputs"].pop(0)
    inside["inputs"].pop(0)
    assert prompts["id"] not in {link[3] for link in graph["links"]}
    for link in inside["links"][:]:
        if link["origin_id"] == -10:
            link["origin_slot"] -= 1
            if link["origin_slot"] < 0:
                inside["links"].remove(link)
            elif link["type"] == "STRING":
                link["target_slot"] -= 1
    text = "a person with red stripes, blue checked wall, bright light, near middle, turns left"
    for node, words in zip(of_type["CLIPTextEncode"], [text, ""], strict=True):
        node["inputs"].pop(0)
        node |= {"type": "STDRCMiniPrompt", "widgets_values": [words]}
    prompts["widgets_values"] = [text, "", 128, 128, 17, 24]
    (size,) = of_type["EmptyLTXVLatentVideo"]
    size["widgets_values"] = [128, 128, 17, 1]
    (sample,) = [box for box in graph["nodes"] if box.get("title") == "Sample and decode"]
    sample["widgets_values"][1] = 20
    (steps,) = of_type["LTXVScheduler"]
    steps["widgets_values"][0] = 20
    (save,) = of_type["SaveVideo"]
    save["widgets_values"][0] = "boxed"
    return graph


def test_the_reference_box_makes_the_flat_graphs_clip(page: Any, server: Server) -> None:
    """By the Run button; and what is set on the box is what is queued."""
    graph = on_the_miniature(page_workflow("stdrc_ltx23_bfs_st_drc"))
    (box,) = [node for node in graph["nodes"] if node.get("title") == "ST-DRC reference"]
    seen = load(page, graph)
    assert (seen["unknown"], seen["red"]) == ([], [])
    chosen = {"placement": "auto", "fit": "pad", "text_scale": 2, "reference_scale": 4}
    page.evaluate(
        """(chosen) => {
            const box = app.graph.nodes.find((node) => node.title === 'ST-DRC reference');
            for (const widget of box.widgets) {
                widget.value = chosen[widget.name];
                widget.callback?.(widget.value);
            }
        }""",
        chosen,
    )
    inside = {
        key: value
        for node in queue_form(page).values()
        if node["class_type"].startswith("STDRC")
        for key, value in node["inputs"].items()
    }
    assert {key: inside[key] for key in chosen} == chosen
    assert [slot["name"] for slot in box["inputs"] if "widget" in slot] == list(chosen)

    server.forget()
    press_run(page)
    folder = server.base / "output"
    give_up_at = time.monotonic() + 120
    while not (made := list(folder.glob("boxed*.mp4"))):
        assert time.monotonic() < give_up_at, server.log()[-3000:]
        page.wait_for_timeout(500)
    (clip,) = made
    page.wait_for_timeout(1000)
    frames = decode(clip)
    assert frames.shape == (17, 128, 128, 3)
    assert frames.std() > 5
    assert page.evaluate(INSPECT)["red"] == []
