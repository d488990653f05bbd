"""What the page on headless use says of inputs, flags and batches is what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.doc_pages import DOCS
from helpers.user_pages import GRAPHS, code, graph, node_inputs, rows, text

from stdrc_core.generate.__main__ import make_parser
from stdrc_core.generate.jobs import Job, read_jobs
from stdrc_core.ltx.reference_layout import DEFAULT_LAYOUT, Decision


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
