"""What users' pages say of workflows, model files, nodes, flags and batches is what there is."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from helpers.doc_pages import DOCS, PROJECT, commands
from helpers.shipped_workflows import models_of, nodes_of

from stdrc_core.evaluate.metric_registry import COLUMNS
from stdrc_core.faces.download import BUFFALO_L
from stdrc_core.generate.__main__ import make_parser
from stdrc_core.generate.jobs import Job, read_jobs
from stdrc_core.ltx.reference_layout import DEFAULT_LAYOUT, Decision
from stdrc_core.mini.__main__ import COMMANDS
from stdrc_core.mini.shipped import CHECKPOINT, FACES, ONE_PASS_LORA

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


# --- headless


def test_the_table_of_inputs_has_every_graph_and_fits_it():
    page = text(DOCS / "headless.md")
    told = {code(row[0])[0]: row[1:] for row in rows(page, "### Which inputs to change")}
    assert sorted(told) == GRAPHS
    for name, cells in told.items():
        for part in (part for cell in cells if cell != "none" for part in cell.split("; ")):
            told_so = re.fullmatch(r"\*\*(.+?)\*\*(?: \(([\d:]+)\))? (.+)", part)
            title, number, keys = told_so.groups()
            titles = [node["_meta"]["title"] for node in graph(name).values()]
            assert titles.count(title) == 1 or (number and titles.count(title) > 1)
            inputs = node_inputs(name, title, number)
            for key in code(keys):
                assert not isinstance(inputs[key], list), (name, title, key)


def test_the_table_of_flags_is_the_parser():
    told = {
        code(flag)[0]: (value, default)
        for flag, value, default, _ in rows(text(DOCS / "headless.md"), "### Flags")
    }
    actions = {each.option_strings[-1]: each for each in make_parser()._actions[1:]}
    assert list(told) == list(actions)
    for flag, action in actions.items():
        value, default = told[flag]
        if action.choices is not None:
            assert code(value) == [str(each) for each in action.choices], flag
        if action.nargs == 0:
            assert (value, default) == ("", "off"), flag
        elif flag == "--device":
            assert action.default is None
            assert code(default) == ["cuda", "cpu"]
        elif action.default not in (None, []):
            assert code(default) == [str(action.default)], flag
        else:
            assert default and default != f"`{action.default}`", flag


def read_line(tmp_path: Path, line: dict[str, Any]) -> Job:
    """A batch of this line, for LTX-2.3 and weights that say nothing of themselves."""
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps(line))
    words = ["--batch", path, "--checkpoint", "ltx.safetensors", "--text-encoder", "gemma"]
    args = make_parser().parse_args([str(word) for word in words])
    (job,) = read_jobs(args, Decision(layout=DEFAULT_LAYOUT, sentence=""))
    return job


def test_the_table_of_keys_is_what_a_batch_takes(tmp_path: Path):
    told = {
        code(key)[0]: (kind, default)
        for key, kind, default, _ in rows(text(DOCS / "headless.md"), "### Batches")
    }
    needed = {"reference": "anna.png", "prompt": "a person reads"}
    job = read_line(tmp_path, needed)
    # What `asked` holds besides is of the whole batch.
    windowed = read_line(tmp_path, needed | {"window": 49})
    assert set(told) == set(windowed.asked()) - {"weights"}
    assert set(told) == {*job.asked(), "window", "window_overlap"} - {"weights"}
    kinds = {int: "whole number", float: "number"}
    for key, (kind, default) in told.items():
        if key in needed:
            assert default == "needed"
            with pytest.raises(ValueError, match=f"'{key}'"):
                read_line(tmp_path, {k: v for k, v in needed.items() if k != key})
        elif key == "name":
            assert read_line(tmp_path, needed | {"name": "shot"}).name == "shot"
            assert (default, job.name) == ("the photo's name and the seed", "anna_0")
        elif default == "none":
            assert key not in job.asked()
            assert windowed.asked()[key] == 49
        else:
            value = windowed.asked()[key]
            assert float(default) == value, key
            assert kind.split(",")[0] == kinds[type(value)], key
            line = needed | {"window": 49, key: value}
            assert read_line(tmp_path, line).asked()[key] == value
    with pytest.raises(ValueError, match="colour"):
        read_line(tmp_path, needed | {"colour": 1})


def test_the_batch_that_is_shown_is_read(tmp_path: Path):
    (block,) = re.findall(r"^```json\n(.*?)^```$", text(DOCS / "headless.md"), re.M | re.S)
    for line in block.splitlines():
        asked = json.loads(line)
        job = read_line(tmp_path, asked)
        assert len(job.references) == (len(asked["reference"]) if "[" in line else 1)


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
