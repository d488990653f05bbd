"""The subgraphs that ship hold together, and the workflows' boxes are these subgraphs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from helpers.doc_pages import DOCS
from helpers.shipped_workflows import SUBGRAPHS, WORKFLOWS, api_workflow

FILES = sorted(SUBGRAPHS.glob("*.json"))
BOXED = sorted(WORKFLOWS.glob("*.json"))
# The numbers of a subgraph's two ends in its links.
INPUTS, OUTPUTS = -10, -20


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def boxes_of(graph: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each box of a graph with its definition, which is no other box's.

    A page of ComfyUI 0.22 keeps a box's values in its definition, so that two boxes of one
    definition would have the same.
    """
    definitions = {each["id"]: each for each in graph["definitions"]["subgraphs"]}
    boxes = [node for node in graph["nodes"] if node["type"] in definitions]
    assert sorted(box["type"] for box in boxes) == sorted(definitions)
    return [(box, definitions[box["type"]]) for box in boxes]


def the_box_of(graph: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    (pair,) = boxes_of(graph)
    return pair


def named(slots: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(slot["name"], slot["type"]) for slot in slots]


def structure(definition: dict[str, Any]) -> dict[str, Any]:
    """A subgraph without what a workflow may choose: values, texts of notes, places, numbers."""
    numbers = {node["id"]: place for place, node in enumerate(definition["nodes"])}
    nodes = [
        {
            k: v
            for k, v in node.items()
            if k not in ("id", "inputs", "outputs", "widgets_values", "size", "pos")
        }
        | {k: named(node[k]) for k in ("inputs", "outputs")}
        for node in definition["nodes"]
    ]
    links = [
        (
            numbers.get(link["origin_id"], link["origin_id"]),
            link["origin_slot"],
            numbers.get(link["target_id"], link["target_id"]),
            link["target_slot"],
            link["type"],
        )
        for link in definition["links"]
    ]
    said = {k: definition[k] for k in ("name", "category", "description", "widgets", "version")}
    ends = {k: named(definition[k]) for k in ("inputs", "outputs")}
    return said | ends | {"nodes": nodes, "links": sorted(links)}


def test_what_ships_is_what_the_workflows_use():
    used = {each["name"] for path in BOXED for each in read(path)["definitions"]["subgraphs"]}
    assert used == {path.stem for path in FILES}
    for model in ("LTX-2.3", "LTX-2.3 distilled", "LTX-2.5", "LTX-2.5 distilled"):
        assert f"ST-DRC photo and prompt to video ({model})" in used


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_one_box_of_its_name_as_the_page_wants_it(path: Path):
    graph = read(path)
    box, definition = the_box_of(graph)
    # The page takes no other root graph for a blueprint, and no title but the file's name.
    assert graph["nodes"] == [box]
    assert graph["links"] == []
    assert definition["name"] == box["title"] == path.stem
    assert definition["category"] == "ST-DRC"
    assert definition["description"] == graph["extra"]["BlueprintDescription"]
    assert not set(path.name) & set('<>:"/\\|?*')


@pytest.mark.parametrize("path", [*FILES, *BOXED], ids=lambda path: path.stem)
def test_every_number_is_taken_once(path: Path):
    """The page gives one that is taken twice anew, and with it the queue's form changes."""
    graph = read(path)
    graphs = [graph, *graph["definitions"]["subgraphs"]]
    numbers = [node["id"] for each in graphs for node in each["nodes"]]
    assert len(set(numbers)) == len(numbers)
    assert graph["last_node_id"] == max(numbers)


@pytest.mark.parametrize("path", [*FILES, *BOXED], ids=lambda path: path.stem)
def test_a_boxs_slots_values_and_links_are_those_inside(path: Path):
    for box, definition in boxes_of(read(path)):
        check_slots_and_links(box, definition)
        check_values(box, definition)


def check_slots_and_links(box: dict[str, Any], definition: dict[str, Any]) -> None:
    nodes = {node["id"]: node for node in definition["nodes"]}
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


def check_values(box: dict[str, Any], definition: dict[str, Any]) -> None:
    nodes = {node["id"]: node for node in definition["nodes"]}
    links = {link["id"]: link for link in definition["links"]}
    values = iter(box["widgets_values"])
    for slot, defined in zip(box["inputs"], definition["inputs"], strict=True):
        targets = [
            (nodes[link["target_id"]], link["target_slot"])
            for link in map(links.get, defined["linkIds"])
        ]
        # The page counts a box's values by what its slots lead to.
        widgets = ["widget" in node["inputs"][place] for node, place in targets]
        assert set(widgets) == {"widget" in slot}, slot["name"]
        if "widget" in slot:
            value = next(values)
            for node, _ in targets:
                # A page of ComfyUI 0.22 keeps the value inside, one of 0.33 on the box.
                assert value in node["widgets_values"], (slot["name"], node["type"])
    assert not list(values)


@pytest.mark.parametrize("path", BOXED, ids=lambda path: path.stem)
def test_a_workflows_boxes_are_the_subgraphs_that_ship(path: Path):
    for _, used in boxes_of(read(path)):
        _, shipped = the_box_of(read(SUBGRAPHS / f"{used['name']}.json"))
        assert structure(used) == structure(shipped)


# The staged ones show their stages, of which each is a box, and the nodes that choose between.
MOST_BOXES = {"staged": 16, "stacked": 12, "similarity": 11}


@pytest.mark.parametrize("path", BOXED, ids=lambda path: path.stem)
def test_a_newcomer_sees_a_handful_of_boxes(path: Path):
    seen = [node for node in read(path)["nodes"] if node["type"] != "MarkdownNote"]
    most = MOST_BOXES.get(path.stem.split("_")[-1], 10)
    assert len(seen) <= most


@pytest.mark.parametrize("path", BOXED, ids=lambda path: path.stem)
def test_nothing_lies_upon_another(path: Path):
    graph = read(path)
    areas = [(each.get("title"), *each["pos"], *each["size"]) for each in graph["nodes"]]
    groups = [(each["title"], *each["bounding"]) for each in graph["groups"]]
    for each in (areas, groups):
        for one, other in combinations(each, 2):
            apart = any(
                one[axis] + one[axis + 2] <= other[axis]
                or other[axis] + other[axis + 2] <= one[axis]
                for axis in (1, 2)
            )
            assert apart, (one, other)


def photos_and_masks(workflow: dict[str, Any]) -> Iterator[tuple[list[Any], list[Any] | None]]:
    """Of each node that takes a photo and its mask: where the two come from, in the queue's form.

    A photo that another node made see-through in between is the file's.
    """
    for node in workflow.values():
        if node["class_type"] in ("STDRCEncodeReference", "STDRCPrepareReferencePhoto"):
            photo = node["inputs"]["image"]
            while workflow[photo[0]]["class_type"] == "JoinImageWithAlpha":
                photo = workflow[photo[0]]["inputs"]["image"]
            yield photo, node["inputs"].get("mask")


@pytest.mark.parametrize("path", BOXED, ids=lambda path: path.stem)
def test_pad_color_shows_where_a_photo_from_load_image_is_transparent(path: Path):
    workflow = api_workflow(path.stem)
    found = [
        (photo, mask)
        for photo, mask in photos_and_masks(workflow)
        if workflow[photo[0]]["class_type"] == "LoadImage"
    ]
    for (node, _), mask in found:
        assert mask == [node, 1]
    # A character sheet is scaled before, and its transparency with it.
    if path.stem == "stdrc_ltx23_character_sheet":
        (scale,) = (n for n in workflow.values() if n["class_type"] == "ImageScale")
        join = workflow[scale["inputs"]["image"][0]]
        assert join["class_type"] == "JoinImageWithAlpha"
        assert join["inputs"]["alpha"] == [join["inputs"]["image"][0], 1]
    elif any(node["class_type"] == "LoadImage" for node in workflow.values()):
        assert found


def test_the_page_of_workflows_lists_every_box():
    page = (DOCS / "workflows" / "README.md").read_text(encoding="utf-8")
    section = page.split("\n## Boxes for graphs of your own\n")[1].split("\n## ")[0]
    told = set()
    for cell in re.findall(r"^\| (ST-DRC [^|]+?) \|", section, re.M):
        # "Name (A), and (B)" are two.
        name, *variants = re.split(r" \(|, and \(", cell)
        told |= {f"{name} ({each}" for each in variants} or {name}
    assert told == {path.stem for path in FILES}
