"""The README's words on measuring: every metric in its table, and commands that parse."""

from __future__ import annotations

import re
import shlex

import pytest
from helpers import PROJECT

from stdrc_core.evaluate.__main__ import make_parser, read_options
from stdrc_core.evaluate.metric_registry import COLUMNS

SECTION = (PROJECT / "README.md").read_text().split("## Measure\n")[1].split("\n## ")[0]


def test_the_table_names_every_metric_its_libraries_and_weights():
    rows = {name: rest for name, rest in re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", SECTION, re.M)}
    assert rows.keys() == COLUMNS.keys()
    for name, column in COLUMNS.items():
        assert rows[name].startswith(f"{column.title} |")
        named = [weights.name for weights in column.weights] + [*(column.libraries or {})]
        assert [word for word in named if f"`{word}`" not in rows[name]] == []


@pytest.mark.parametrize(
    "line", [line for line in SECTION.splitlines() if line.startswith("python -m")]
)
def test_its_commands_parse(line: str):
    args = make_parser().parse_args(shlex.split(line)[3:])
    if args.compare is None:
        assert read_options(args).metrics == ("facesim_arc", "tic")
