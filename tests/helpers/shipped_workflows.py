"""The workflows that ship: for the queue, for the page, and what they ask their user for.

In place of what they ask for there are names alone: a photo, and empty model files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers import PROJECT
from helpers.real_photo import write_astronaut

WORKFLOWS = PROJECT / "workflows"
API = WORKFLOWS / "api"
SUBGRAPHS = PROJECT / "subgraphs"


def api_workflow(name: str) -> dict[str, Any]:
    """In the queue's form; `name` may begin with a folder."""
    return json.loads((API / f"{name}.json").read_text())


def page_workflow(name: str) -> dict[str, Any]:
    """In the page's form, with the places of its nodes."""
    return json.loads((WORKFLOWS / f"{name}.json").read_text())


def titled(workflow: dict[str, Any], title: str) -> str:
    """The one node of that title."""
    (key,) = (key for key, node in workflow.items() if node["_meta"]["title"] == title)
    return key


def nodes_of(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a page-form workflow, then those inside its subgraphs."""
    yield from workflow["nodes"]
    for subgraph in workflow.get("definitions", {}).get("subgraphs", []):
        yield from subgraph["nodes"]


def models_of(workflow: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """The model files that a page-form workflow offers for download, with their node types."""
    for node in nodes_of(workflow):
        for model in node.get("properties", {}).get("models", []):
            yield node["type"], model


def knows_input(declared: dict[str, Any], name: str) -> bool:
    """Whether a class of nodes has an input of that name, by its entry in the server's object_info.

    Inputs that grow are named "list.member".
    """
    inputs = {**declared.get("required", {}), **declared.get("optional", {})}
    root, _, member = name.partition(".")
    return root in inputs and (not member or str(inputs[root][0]).startswith("COMFY_"))


def make_placeholders(workflow: dict[str, Any], base: Path) -> None:
    """The page and the queue's checks look at names alone."""
    write_astronaut(base / "input" / "example.png")
    for _, model in models_of(workflow):
        path = base / "models" / model["directory"] / model["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
