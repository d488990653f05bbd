"""The page on other systems: its titles, sizes and files are those of the graphs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import PROJECT
from helpers.doc_pages import DOCS, commands

from stdrc_core.evaluate.__main__ import make_parser

PAGE = DOCS / "baselines.md"
TEXT = PAGE.read_text(encoding="utf-8")
FOLDER = PROJECT / "workflows" / "api" / "baselines"
GRAPHS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
# The graphs that load a model, empty where they are those of the row above, and the model's file.
FILES = re.findall(r"^\| ([^|]*)\| `\w+` \| \[`([^`]+)`\]", TEXT, re.MULTILINE)


def widgets(graph: dict[str, Any], name: str) -> list[Any]:
    """The values of an input in all nodes that have it as a widget."""
    found = [node["inputs"].get(name) for node in graph.values()]
    return [value for value in found if value is not None and not isinstance(value, list)]


def test_every_graph_has_its_row_of_sizes_and_steps():
    told = dict(re.findall(r"^\| `(\w+)\.json` \| (.+) \|$", TEXT, re.MULTILINE))
    assert told.keys() == GRAPHS.keys()
    for name, graph in GRAPHS.items():
        (length,) = (value for value in widgets(graph, "length") if value > 1)
        (steps,), (fps,) = widgets(graph, "steps"), widgets(graph, "fps")
        (node,) = (each for each in graph.values() if "length" in each["inputs"])
        size = f"{node['inputs']['width']} x {node['inputs']['height']}"
        row = told[name]
        assert f"{size}, {length} frames at {fps:g} fps, {steps} steps" in row
    assert "text 7.5, image 5" in told["wan_phantom"]
    assert widgets(GRAPHS["wan_phantom"], "cfg_conds") == [7.5]
    assert widgets(GRAPHS["wan_phantom"], "cfg_cond2_negative") == [5.0]
    assert widgets(GRAPHS["wan_vace"], "cfg") == [6.0]
    assert widgets(GRAPHS["ltx23_text_only"], "cfg") == [5.0, 1.0]


def test_the_files_are_those_that_the_graphs_load():
    named: dict[str, set[str]] = {name: set() for name in GRAPHS}
    graphs: list[str] = []
    for cell, file in FILES:
        graphs = re.findall(r"`(\w+)`", cell) or graphs
        for name in graphs:
            named[name].add(file)
    for name, graph in GRAPHS.items():
        loaded = {
            value
            for node in graph.values()
            for value in node["inputs"].values()
            if isinstance(value, str) and value.endswith(".safetensors")
        }
        assert named[name] == loaded


@pytest.mark.parametrize("name", GRAPHS)
def test_the_four_inputs_are_there_by_their_titles(name: str):
    inputs = dict(re.findall(r"^\| \*\*(.+?)\*\* \| `(\w+)` \|", TEXT, re.MULTILINE))
    assert len(inputs) == 4
    for title, key in inputs.items():
        nodes = [node for node in GRAPHS[name].values() if node["_meta"]["title"] == title]
        if (name, title) == ("ltx23_text_only", "Reference photo"):
            assert nodes == []
        else:
            assert len(nodes) == 1
            assert key in nodes[0]["inputs"]


def test_the_lines_of_python_write_the_graph_of_a_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "workflows").symlink_to(PROJECT / "workflows")
    monkeypatch.chdir(tmp_path)
    exec(compile(TEXT.split("```python\n")[1].split("```")[0], "baselines.md", "exec"), {})
    graph = json.loads((tmp_path / "anna.json").read_text())
    changed = [key for key in graph if graph[key] != GRAPHS["wan_vace"][key]]
    assert graph.keys() == GRAPHS["wan_vace"].keys()
    assert len(changed) == 4


def test_its_commands_parse():
    measured = [line for line in commands(PAGE) if line.startswith("python -m stdrc_core.evaluate")]
    assert len(measured) == 3
    for line in measured:
        make_parser().parse_args(line.split()[3:])
