"""The nodes' help pages: every input with its values and default, every output with its type; and
the headless page's script, on the queue."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.comfyui import PROJECT
from helpers.comfyui_server import Server

pytestmark = pytest.mark.host

PAGES = sorted((PROJECT / "web" / "docs").glob("*.md"))
CHINESE_PAGES = sorted((PROJECT / "web" / "docs").glob("*/zh.md"))
CHINESE = {
    ", step ": "，步长 ",  # noqa: RUF001
    "; optional": "；可选",  # noqa: RUF001
    "; advanced": "；高级",  # noqa: RUF001
    " or ": " 或 ",
    "the packs that are found": "找到的人脸包",
}
WHOLE_CELLS = {"text": "文本", "colour": "颜色", "empty": "空", "as the input": "与输入相同"}
# The folders that are found decide its values.
FOUND = {"face_pack": "the packs that are found"}


def told_values(name: str, spec: list[Any], *, is_optional: bool) -> str:
    """What a page has to say of an input's values."""
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    is_linked = options.get("forceInput", False)
    match kind:
        case "COMBO":
            values = FOUND.get(name) or ", ".join(f"`{each}`" for each in options["options"])
        case "INT" | "FLOAT" if not is_linked:
            values = f"{told_number(options['min'])} to {told_number(options['max'])}"
            values += f", step {told_number(options['step'])}" if "step" in options else ""
        case "BOOLEAN":
            values = "`true`, `false`"
        case "STRING" if not is_linked:
            values = "text"
        case "COLOR":
            values = "colour"
        case "COMFY_MATCHTYPE_V3":
            values = " or ".join(options["template"]["allowed_types"].split(","))
        case _:
            values = kind
    values += "; optional" if is_optional and "default" not in options else ""
    return values + ("; advanced" if options.get("advanced") else "")


def told_default(spec: list[Any]) -> str:
    default = spec[1].get("default") if len(spec) > 1 else None
    match default:
        case None:
            return ""
        case bool():
            return f"`{str(default).lower()}`"
        case int() | float():
            return told_number(default)
        case "":
            return "empty"
    return f"`{default}`"


def told_number(value: float) -> str:
    return "2^64 - 1" if value == 2**64 - 1 else f"{value:g}"


def in_chinese(told: str) -> str:
    """What a Chinese page has to say where the English one says `told`."""
    told = re.sub(r"(-?[\d.]+) to (-?[\d.]+|2\^64 - 1)", r"\1 到 \2", told)
    for english, chinese in CHINESE.items():
        told = told.replace(english, chinese)
    return WHOLE_CELLS.get(told, told)


def cells(page: str, heading: str) -> dict[str, list[str]]:
    """Of the section's first table: the name in a row's first cell -> its other cells."""
    table = re.findall(r"(?:^\|.*\n)+", page.split(f"\n## {heading}\n")[1], re.M)[0]
    lines = [line.strip("|\n").split(" |") for line in table.splitlines()[2:]]
    rows = [[cell.strip() for cell in line] for line in lines]
    return {row[0].strip("*"): row[1:] for row in rows}


def told_inputs(node: dict[str, Any]) -> dict[str, list[str]]:
    """What a page has to say of a node's inputs: values and default."""
    return {
        name: [told_values(name, spec, is_optional=part == "optional"), told_default(spec)]
        for part in ("required", "optional")
        for name, spec in node["input"].get(part, {}).items()
    }


@pytest.fixture(scope="module")
def nodes(server: Server) -> dict[str, Any]:
    return server.object_info()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_every_input_with_its_values_and_default(
    nodes: dict[str, Any], path: Path
) -> None:
    expected = told_inputs(nodes[path.stem])
    told = cells(path.read_text(), "Inputs")
    assert {name: row[:2] for name, row in told.items()} == expected
    assert all(len(row) == 3 and row[2] for row in told.values())


@pytest.mark.parametrize("path", CHINESE_PAGES, ids=lambda path: path.parent.name)
def test_a_chinese_page_has_the_same_inputs_and_outputs(nodes: dict[str, Any], path: Path) -> None:
    node, page = nodes[path.parent.name], path.read_text(encoding="utf-8")
    told = cells(page, "输入")
    assert {name: row[:2] for name, row in told.items()} == {
        name: [in_chinese(cell) for cell in row] for name, row in told_inputs(node).items()
    }
    assert all(len(row) == 3 and row[2] for row in told.values())
    outputs = cells(page, "输出")
    assert list(outputs) == node["output_name"]
    english = cells((path.parents[1] / f"{path.parent.name}.md").read_text(), "Outputs")
    for name, (kind, what) in outputs.items():
        assert kind == in_chinese(english[name][0])
        assert what


def test_every_page_is_there_in_chinese_with_the_same_workflows() -> None:
    assert [path.parent.name for path in CHINESE_PAGES] == [path.stem for path in PAGES]
    for path, translated in zip(PAGES, CHINESE_PAGES, strict=True):
        users = re.findall(r"`(\w+)`", path.read_text().split("\n## Used in\n")[1])
        page = translated.read_text(encoding="utf-8")
        assert re.findall(r"`(\w+)`", page.split("\n## 使用它的工作流\n")[1]) == users


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_every_output_with_its_type(nodes: dict[str, Any], path: Path) -> None:
    node = nodes[path.stem]
    told = cells(path.read_text(), "Outputs")
    assert list(told) == node["output_name"]
    for (kind, what), declared in zip(told.values(), node["output"], strict=True):
        assert kind == ("as the input" if declared == "COMFY_MATCHTYPE_V3" else declared)
        assert what


def test_the_headless_pages_script_makes_its_clips(server: Server, tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "headless.md").read_text()
    (script,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    assert 'SERVER = "http://127.0.0.1:8188"' in script
    path = tmp_path / "shots.py"
    path.write_text(script.replace("http://127.0.0.1:8188", server.url))
    run = subprocess.run([sys.executable, path], cwd=PROJECT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(
        r"success \['video/shot_010_\d+_\.mp4'\]\nsuccess \['video/shot_020_\d+_\.mp4'\]\n",
        run.stdout,
    )
