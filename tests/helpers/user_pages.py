"""The pages for users, as the tests that hold them to the pack read them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from .doc_pages import DOCS, PROJECT
from .shipped_workflows import models_of

WORKFLOWS = PROJECT / "workflows"
API = WORKFLOWS / "api"
HELP = PROJECT / "web" / "docs"
PAGES = DOCS / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
BASELINES = sorted(path.stem for path in (API / "baselines").glob("*.json"))
# Of every graph in the queue's form: its name, with `baselines/` before those.
GRAPHS = sorted(str(path.relative_to(API).with_suffix("")) for path in API.rglob("*.json"))


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def graph(name: str) -> dict[str, Any]:
    """A graph in the queue's form."""
    return json.loads(text(API / f"{name}.json"))


@cache
def page_form(name: str) -> dict[str, Any]:
    """A graph in the page's form."""
    return json.loads(text(WORKFLOWS / f"{name}.json"))


def rows(page_text: str, heading: str) -> list[list[str]]:
    """The cells of a section's tables, without the tables' heads."""
    section = re.split(r"^#{1,4} ", page_text.split(f"\n{heading}\n")[1], flags=re.M)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rules = {i for i, line in enumerate(lines) if set(line) <= set("|- ")}
    kept = [line for i, line in enumerate(lines) if i not in rules and i + 1 not in rules]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in kept]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def models(name: str) -> list[dict[str, str]]:
    """The model files that a workflow's loaders offer for download, each once."""
    found: list[dict[str, str]] = []
    for _, model in models_of(page_form(name)):
        found += [model] if model not in found else []
    return found


@cache
def display_names() -> dict[str, str]:
    """Node id -> its name on the page, by each schema in `nodes/`."""
    found = {}
    for path in (PROJECT / "nodes").glob("*.py"):
        for call in ast.walk(ast.parse(text(path))):
            if isinstance(call, ast.Call):
                words = {
                    each.arg: each.value.value
                    for each in call.keywords
                    if isinstance(each.value, ast.Constant)
                }
                if "node_id" in words:
                    found[words["node_id"]] = words["display_name"]
    return found


def node_inputs(name: str, title: str, number: str | None) -> dict[str, Any]:
    """The inputs of the one node that a page calls so; `number` is the node's in the file.

    Of a box, which the queue's form takes apart, they are what the page shows on it.
    """
    found = [*box_inputs(name, title)] or [
        node["inputs"]
        for key, node in graph(name).items()
        if title in (node["_meta"]["title"], display_names().get(node["class_type"]))
        and number in (None, key)
    ]
    assert len(found) == 1, f"{title} ({number}) is {len(found)} nodes of {name}"
    return found[0]


def box_inputs(name: str, title: str) -> Iterator[dict[str, Any]]:
    if "/" in name:
        return
    graph_of_page = page_form(name)
    boxes = {each["id"] for each in graph_of_page.get("definitions", {}).get("subgraphs", [])}
    for node in graph_of_page["nodes"]:
        if node["type"] in boxes and node["title"] == title:
            names = [slot["name"] for slot in node["inputs"] if "widget" in slot]
            yield dict(zip(names, node["widgets_values"], strict=True))
