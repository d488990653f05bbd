"""The page on measuring: every metric, option and file in its tables, and commands that parse."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from helpers.doc_pages import DOCS, commands

from stdrc_core.evaluate.__main__ import make_parser, read_options
from stdrc_core.evaluate.metric_registry import COLUMNS
from stdrc_core.evaluate.options import Options
from stdrc_core.evaluate.pairs import Pair

PAGE = DOCS / "evaluate.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", TEXT, re.MULTILINE))
MEASURING = [line for line in commands(PAGE) if " -m stdrc_core.evaluate " in line]


def test_the_table_names_every_metric_its_libraries_and_weights_with_their_source():
    assert ROWS.keys() >= COLUMNS.keys()
    for name, column in COLUMNS.items():
        assert ROWS[name].startswith(f"{column.title} |")
        for weights in column.weights:
            link = re.search(rf"\[`{re.escape(weights.name)}`\]\(([^)]+)\)", ROWS[name])
            assert link is not None, weights
            assert weights.source.split(" ")[0] == link[1]
        assert all(f"`{library}`" in ROWS[name] for library in column.libraries or {})
        assert (f"`{'--faces'}`" in ROWS[name]) == column.uses_faces
        assert (name in ("facesim_arc", "tic")) == ("none; `--faces`" in ROWS[name])


def test_the_options_have_their_defaults():
    for name in ("frames", "batch_size", "clips_at_once"):
        default = Options.model_fields[name].default
        assert ROWS[f"--{name.replace('_', '-')}"].startswith(f"{default} |")
    sampled = [column.title for column in COLUMNS.values() if column.samples_frames]
    assert sampled == ["FaceSim-Arc", "FaceSim-Cur", "CLIP", "TIC"]
    assert "FaceSim, TIC and CLIP look at" in ROWS["--frames"]


def test_the_pairs_are_read_and_their_keys_are_in_the_table():
    lines = TEXT.split("```json\n")[1].split("```")[0].splitlines()
    pairs = [Pair.model_validate(json.loads(line)) for line in lines]
    assert [pair.person for pair in pairs] == ["anna", "anna", None]
    keys = {key for line in lines for key in json.loads(line)}
    assert keys <= ROWS.keys()


@pytest.mark.parametrize("line", MEASURING)
def test_its_commands_parse(line: str):
    args = make_parser().parse_args(shlex.split(line.partition(" -m stdrc_core.evaluate ")[2]))
    if args.compare is None:
        assert read_options(args).metrics in (("facesim_arc", "tic"), ("ms",))
