"""What users' pages say of workflows, model files, nodes and commands is what there is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.doc_pages import DOCS, PROJECT, commands
from helpers.shipped_workflows import nodes_of
from helpers.user_pages import (
    BASELINES,
    GRAPHS,
    HELP,
    NAMES,
    PAGES,
    code,
    display_names,
    graph,
    models,
    node_inputs,
    page_form,
    rows,
    text,
)

from stdrc_core.evaluate.metric_registry import COLUMNS
from stdrc_core.faces.download import BUFFALO_L
from stdrc_core.generate.__main__ import make_parser
from stdrc_core.mini.__main__ import COMMANDS
from stdrc_core.mini.shipped import CHECKPOINT, FACES, ONE_PASS_LORA

# --- workflows


def test_every_workflow_has_a_page_and_every_page_a_workflow():
    pages = {page.stem for page in PAGES.glob("*.md")} - {"README", "baselines"}
    assert pages == set(NAMES)
    listed = re.findall(r"\]\((\w+)\.md\) \|", text(PAGES / "README.md"))
    assert sorted(listed) == sorted([*NAMES, "baselines"])
    baselines = rows(f"\n{text(PAGES / 'baselines.md')}", "# The baselines")
    assert sorted(code(row[0])[0] for row in baselines) == BASELINES
    assert {graph.removeprefix("baselines/") for graph in GRAPHS} == {*NAMES, *BASELINES}


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_the_workflows_name_picture_and_command(name: str):
    page = text(PAGES / f"{name}.md")
    assert page.startswith(f"# {name}\n")
    assert f"(../../workflows/{name}.jpg)" in page
    assert "\n**Tried:** " in page
    (line,) = commands(PAGES / f"{name}.md")
    words = shlex.split(line)
    assert words[:3] == ["comfy", "--skip-prompt", "run"]
    assert words[words.index("--workflow") + 1] == f"workflows/api/{name}.json"


@pytest.mark.parametrize("name", NAMES)
def test_a_page_lists_the_workflows_files_with_folder_and_address(name: str):
    told = [
        {"name": code(file)[0], "directory": code(folder)[0], "url": _address(address)}
        for file, folder, address in rows(text(PAGES / f"{name}.md"), "## Files")
    ]
    assert told == [{k: each[k] for k in ("name", "directory", "url")} for each in models(name)]


def _address(cell: str) -> str:
    return re.findall(r"\]\(([^)]+)\)", cell)[0]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_page_says_to_change_stands_so_in_the_graph(name: str):
    """Node, input and value of every row."""
    page = text(PAGES / f"{name}.md")
    told = rows(page, "## What to change")
    assert len(told) >= 5
    if "## What each setting does" in page:
        told += rows(page, "## What each setting does")
    for node, name_of_input, value, what in told:
        title, number = re.fullmatch(r"\*\*(.+?)\*\*(?: \(node (\d+)\))?", node).groups()
        inputs = node_inputs(name, title, number)
        (key,) = code(name_of_input)
        assert not isinstance(inputs[key], list), f"{title} {key} is linked"
        if value == "the example below":
            assert inputs[key] == example_prompt(page)
        else:
            assert _same(code(value)[0] if "`" in value else "", inputs[key]), (title, key, value)
        assert what


def _same(told: str, value: Any) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(told) == value
    return told == str(value)


def example_prompt(page: str) -> str:
    lines = page.split("\n## Example prompt\n")[1].split("\n## ")[0].strip().splitlines()
    return " ".join(line.removeprefix("> ") for line in lines)


@pytest.mark.parametrize("name", [*NAMES, *(f"baselines/{each}" for each in BASELINES)])
def test_the_example_prompt_is_the_graphs(name: str):
    page = PAGES / ("baselines.md" if "/" in name else f"{name}.md")
    prompts = {
        value
        for node in graph(name).values()
        for key, value in node["inputs"].items()
        if key in ("text", "prompt") and isinstance(value, str)
    }
    assert example_prompt(text(page)) in prompts


def test_the_baselines_page_lists_files_and_inputs_of_each_graph():
    page = text(PAGES / "baselines.md")
    told = {code(file)[0]: code(graphs) for file, _, graphs in rows(page, "## Files")}
    for name in BASELINES:
        files = _files_of(f"baselines/{name}")
        assert files == {file for file, graphs in told.items() if name in graphs}
        for node, key, what in rows(page, "## What to change"):
            if name == "ltx23_text_only" and "has none" in what:
                continue
            assert code(key)[0] in node_inputs(f"baselines/{name}", node.strip("*"), None)


def _files_of(name: str) -> set[str]:
    values = [value for node in graph(name).values() for value in node["inputs"].values()]
    return {each for each in values if isinstance(each, str) and each.endswith(".safetensors")}


# --- model files


def _model_rows() -> Iterator[list[str]]:
    for heading in (
        "### LTX-2.3",
        "### LTX-2.5",
        "### Adapters",
        "### For the staged workflows and the baselines",
    ):
        yield from rows(text(DOCS / "models.md"), heading)


def test_every_model_file_of_a_workflow_is_listed_with_address_folder_and_workflows():
    listed = {
        code(file)[0]: (code(folder)[0], _address(address), set(code(used)))
        for file, folder, address, used in _model_rows()
    }
    offered = {each["name"]: each for name in NAMES for each in models(name)}
    for file, each in offered.items():
        assert listed[file][:2] == (each["directory"], each["url"])
    users = {file: {name for name in GRAPHS if file in _files_of(name)} for file in listed}
    assert {file: used for file, (_, _, used) in listed.items()} == users
    every_file = set().union(*map(_files_of, GRAPHS)) - {CHECKPOINT.name, ONE_PASS_LORA.name}
    assert set(listed) == every_file


def test_the_files_for_measuring_and_the_face_pack_are_listed():
    page = text(DOCS / "models.md")
    told = [
        (code(file)[0], code(metric)[0], _address(address))
        for file, metric, address in rows(page, "## For measuring")
    ]
    assert told == [
        (weights.name, name, weights.source.split(" ")[0])
        for name, column in COLUMNS.items()
        for weights in column.weights
    ]
    (row,) = rows(page, "## Faces")
    assert code(row[0]) == [BUFFALO_L.name]
    assert f"({BUFFALO_L.num_bytes // 10**6} MB)" in row[0]
    assert _address(row[2]) == BUFFALO_L.url


def test_what_ships_is_listed_with_its_size_and_workflows():
    listed = {}
    for what, folder, _, used in rows(text(DOCS / "models.md"), "### The miniature"):
        assert folder == "in this pack"
        listed[code(what)[0]] = (what, set(code(used)))
    pack = "stdrc_mini"
    sizes = {
        CHECKPOINT.name: f"{CHECKPOINT.stat().st_size / 1e6:.0f} MB",
        ONE_PASS_LORA.name: lora_size(),
        pack: f"{sum(path.stat().st_size for path in FACES.glob('*.onnx')) / 1e6:.1f} MB",
    }
    assert set(listed) == set(sizes)
    for name, (what, users) in listed.items():
        assert f"({sizes[name]})" in what
        assert users == {each for each in GRAPHS if name in _files_of(each) | _packs_of(each)}


def lora_size() -> str:
    return f"{ONE_PASS_LORA.stat().st_size / 1e6:.1f} MB"


def _packs_of(name: str) -> set[str]:
    return {node["inputs"].get("face_pack") for node in graph(name).values()}


@pytest.mark.parametrize(
    "page",
    ["README.md", "docs/quick-start.md", "stdrc_core/mini/weights/README.md"],
)
def test_the_size_of_the_one_pass_lora_is_its_files(page: str):
    (told,) = re.findall(r"LoRA (?:of |\()(\d+\.\d MB)", text(PROJECT / page))
    assert told == lora_size()


# --- nodes


def test_every_node_has_a_line_and_a_help_page():
    page = "\n" + text(DOCS / "nodes.md")
    told = {code(node_id)[0]: node for node, node_id, _ in rows(page, "# The nodes")}
    assert told == {
        node_id: f"[{name}](../web/docs/{node_id}.md)" for node_id, name in display_names().items()
    }
    assert {path.stem for path in HELP.glob("*.md")} == set(told)
    for node_id, name in display_names().items():
        assert text(HELP / f"{node_id}.md").startswith(f"# {name}\n")


@pytest.mark.parametrize("node_id", sorted(path.stem for path in HELP.glob("*.md")))
def test_a_help_page_names_the_workflows_that_use_the_node(node_id: str):
    told = text(HELP / f"{node_id}.md").split("\n## Used in\n\n")[1]
    users = [
        name for name in NAMES if any(node["type"] == node_id for node in nodes_of(page_form(name)))
    ]
    assert code(told) == users
    assert users or told == "No workflow of this pack has it.\n"


# --- commands

PYTHON_PAGES = [DOCS / "quick-start.md", DOCS / "headless.md", *sorted(PAGES.glob("*.md"))]


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_commands(page: Path):
    for command in (part for line in commands(page) for part in line.split(" && ")):
        words = shlex.split(command)
        if words[:3] == ["python", "-m", "stdrc_core.generate"]:
            make_parser().parse_args(words[3:])
        elif words[:3] == ["python", "-m", "stdrc_core.mini"]:
            assert words[3] in COMMANDS
        elif words[:2] == ["pip", "install"] and "-r" in words:
            assert (PROJECT / words[-1]).is_file()
        for word in words:
            if word.startswith("workflows/"):
                assert (PROJECT / word).is_file()


def test_the_checks_read_tables_as_they_are():
    page = (
        "# Page\n\n## One\n\n| a | b |\n|---|---|\n| `x` | |\n| y `z` | 1 |\n\n"
        "## Two\n\n| c |\n|---|\n| d |\n"
    )
    assert rows(page, "## One") == [["`x`", ""], ["y `z`", "1"]]
    assert rows(page, "## Two") == [["d"]]
    assert example_prompt("# P\n\n## Example prompt\n\n> a b\n> c\n\n## Queue\n") == "a b c"
