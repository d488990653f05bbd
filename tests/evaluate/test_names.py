"""Names of clips and photos as people have them, in the pages and tables of an evaluation."""

from __future__ import annotations

import csv
import shutil
from html import unescape
from pathlib import Path

import pytest
from helpers.drawn_persons import DrawnPersons, Evaluate

from stdrc_core.evaluate.compare import compare
from stdrc_core.evaluate.tables import markdown_table

NAMES = [
    "a<b>&\"'.mp4",
    "50% {x} [1] $$.mp4",
    "</script><script>alert(1)</script>".replace("/", "\u2215") + ".mp4",
    "line\nend|cell.mp4",
    "点头 🙂.MP4",
    "n" * 245 + ".mp4",
    "n" * 244 + "m.mp4",
    "._not hidden, named.mp4",
    "-n --out=x.mp4",
    " %s %(name)s {{x}} {0} ${y} <%= z %> .mp4",
    "12:30 #1?a=b&c=d+e `a` $(b) *?[c] back\\slash.mp4",
    '=1+1,"a";b\tc e\u0301 \u202egnp \u2028 \ufb01\u00bd\u0663.mp4',
    "CON.mp4",
]


def test_clips_of_any_name_are_scored_and_shown(
    world: DrawnPersons, tmp_path: Path, evaluate: Evaluate
):
    videos = tmp_path / "videos [1]"
    videos.mkdir()
    pairs = []
    for name in NAMES:
        shutil.copy(world.folder / "0_0.mp4", videos / name)
        pairs.append({"video": name, "reference": "0.png", "prompt": "50% {a} <b> | c\nd $$"})
    report = evaluate(pairs, videos=videos)
    assert [result["video"] for result in report["results"]] == NAMES
    assert all("facesim_arc" in result["scores"] for result in report["results"])
    # Once more there is nothing to do: each has a file of results of its own.
    assert evaluate(pairs, videos=videos, faces=None) == report
    out = tmp_path / "out"
    page = (out / "report.html").read_text(encoding="utf-8")
    for name in NAMES:
        assert name in unescape(page)
    assert "<b>&" not in page and "<script>alert" not in page and "<b> | c" not in page
    with (out / "metrics.csv").open(newline="", encoding="utf-8") as file:
        assert [row["video"] for row in csv.DictReader(file)] == NAMES
    compare(out, out, tmp_path / "both")
    page = (tmp_path / "both" / "compare.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and "<b> | c" not in page


@pytest.mark.parametrize("name", ["a|b", "a\nb", "a\u2028b", "a\\|b"])
def test_a_name_stays_in_its_cell(name: str):
    table = markdown_table(["clip", "score"], [[name, "1"]])
    assert table.count("\n") == 3
    assert table.split("\n")[2].replace("\\|", "").count("|") == 3
