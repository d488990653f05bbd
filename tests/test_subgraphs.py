"""The subgraphs that ship hold together, and the workflows' boxes are these subgraphs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.doc_pages import DOCS
from helpers.shipped_workflows import SUBGRAPHS, WORKFLOWS

FILES = sorted(SUBGRAPHS.glob("*.json"))
BOXED = [
    path
    for path in sorted(WORKFLOWS.glob("*.json"))
    if json.loads(path.read_text()).get("definitions", {}).get("subgraphs")
]
# The numbers of a subgraph's two ends in its links.
INPUTS, OUTPUTS = -10, -20


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def box_and_definition(graph: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    (definition,) = graph["definitions"]["subgraphs"]
    (box,) = [node for node in graph["nodes"] if node["type"] == definition["id"]]
    return box, definition


def named(slots: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(slot["name"], slot["type"]) for slot in slots]


def structure(definition: dict[str, Any]) -> dict[str, Any]:
    """A subgraph without what a workflow may choose: values, and the text of notes."""
    nodes = [
        {k: v for k, v in node.items() if k not in ("widgets_values", "size", "pos")}
        for node in definition["nodes"]
    ]
    layout = ("nodes", "groups", "state", "inputNode", "outputNode")
    return {"nodes": nodes} | {k: v for k, v in definition.items() if k not in layout}


def test_there_are_boxes_for_both_models_and_one_for_the_reference():
    assert [path.stem for path in FILES] == [
        "ST-DRC photo and prompt to video (LTX-2.3 distilled)",
        "ST-DRC photo and prompt to video (LTX-2.3)",
        "ST-DRC photo and prompt to video (LTX-2.5 distilled)",
        "ST-DRC photo and prompt to video (LTX-2.5)",
        "ST-DRC reference",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_one_box_of_its_name_as_the_page_wants_it(path: Path):
    graph = read(path)
    box, definition = box_and_definition(graph)
    # The page takes no other root graph for a blueprint, and no title but the file's name.
    assert graph["nodes"] == [box]
    assert graph["links"] == []
    assert definition["name"] == box["title"] == path.stem
    assert definition["category"] == "ST-DRC"
    assert definition["description"] == graph["extra"]["BlueprintDescription"]
    assert not set(path.name) & set('<>:"/\\|?*')


@pytest.mark.parametrize("path", [*FILES, *BOXED], ids=lambda path: path.stem)
def test_a_boxs_slots_values_and_links_are_those_inside(path: Path):
    graph = read(path)
    box, definition = box_and_definition(graph)
    nodes = {node["id"]: node for node in definition["nodes"]}
    # The page gives a number that is taken twice anew, and with it the queue's form changes.
    numbers = [node["id"] for node in (*graph["nodes"], *definition["nodes"])]
    assert len(set(numbers)) == len(numbers)
    assert named(box["inputs"]) == named(definition["inputs"])
    assert named(box["outputs"]) == named(definition["outputs"])

    links = {link["id"]: link for link in definition["links"]}
    assert len(links) == len(definition["links"])
    for link in links.values():
        if link["origin_id"] == INPUTS:
            assert link["id"] in definition["inputs"][link["origin_slot"]]["linkIds"]
        else:
            output = nodes[link["origin_id"]]["outputs"][link["origin_slot"]]
            assert link["id"] in output["links"]
        if link["target_id"] == OUTPUTS:
            assert link["id"] in definition["outputs"][link["target_slot"]]["linkIds"]
        else:
            target = nodes[link["target_id"]]["inputs"][link["target_slot"]]
            assert target["link"] == link["id"]

    widgets = [slot for slot in box["inputs"] if "widget" in slot]
    assert len(widgets) == len(box["widgets_values"])
    for slot, value in zip(widgets, box["widgets_values"], strict=True):
        (defined,) = [each for each in definition["inputs"] if each["name"] == slot["name"]]
        for number in defined["linkIds"]:
            node = nodes[links[number]["target_id"]]
            # A page of ComfyUI 0.22 keeps the value inside, one of 0.33 on the box.
            assert value in node["widgets_values"], (slot["name"], node["type"])


@pytest.mark.parametrize("path", BOXED, ids=lambda path: path.stem)
def test_a_workflows_box_is_the_subgraph_that_ships(path: Path):
    _, used = box_and_definition(read(path))
    _, shipped = box_and_definition(read(SUBGRAPHS / f"{used['name']}.json"))
    assert structure(used) == structure(shipped)


@pytest.mark.parametrize("path", BOXED, ids=lambda path: path.stem)
def test_a_newcomer_sees_a_handful_of_boxes(path: Path):
    graph = read(path)
    box, definition = box_and_definition(graph)
    seen = [node for node in graph["nodes"] if node["type"] != "MarkdownNote"]
    if "photo and prompt to video" in definition["name"]:
        assert len(seen) <= 7
        assert box["title"] == "ST-DRC: photo and prompt to video"
    else:
        assert [node for node in seen if node["type"].startswith("STDRC")] == []


def test_the_page_of_workflows_lists_every_box():
    page = (DOCS / "workflows" / "README.md").read_text(encoding="utf-8")
    section = page.split("\n## Boxes for graphs of your own\n")[1].split("\n## ")[0]
    told = set()
    for cell in re.findall(r"^\| (ST-DRC [^|]+?) \|", section, re.M):
        # "Name (A), and (B)" are two.
        name, *variants = re.split(r" \(|, and \(", cell)
        told |= {f"{name} ({each}" for each in variants} or {name}
    assert told == {path.stem for path in FILES}
