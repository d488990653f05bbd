"""Inspect References: its report against what the transformer is really given."""

from __future__ import annotations

import re
from typing import Any

import pytest
from comfyui import Worker

pytestmark = pytest.mark.host

TWO = [{"photo": 0, "slot": 0}, {"photo": 1, "slot": 1, "strength": 0.5}]


@pytest.mark.parametrize(
    "scales",
    [{}, {"text_scale": 1.0}, {"reference_scale": 5.0}, {"reference_scale": 0.0}],
)
@pytest.mark.parametrize("own_scales", [(1.0, 1.0), (1.0, 0.5), (0.5, 0.5)])
def test_the_streams_and_tokens_are_those_that_run(
    host: Worker, scales: dict[str, float], own_scales: tuple[float, float]
) -> None:
    entries = [entry | {"scale": f} for entry, f in zip(TWO, own_scales, strict=True)]
    report = host("inspection.report", entries=entries, **scales)
    told = sorted(int(n) for n in re.findall(r"^Stream .*: (\d+) tokens\.$", report, re.M))
    assert told == host("inspection.tokens_that_ran", entries=entries, **scales)
    assert report.startswith("Nothing wrong was found.\n")


def test_it_says_where_each_reference_stands(host: Worker) -> None:
    report = host("inspection.report", entries=TWO)
    assert "Video: 3 x 4 x 4 = 48 tokens." in report
    assert "Model: LTXAVModel." in report
    assert "Reference layout tass, clean" in report
    assert (
        "Reference 1: slot 0, strength 1, scale 1; frames 17 to 25, rows 128 to 256, "
        "columns 128 to 256 (pixels)."
    ) in report
    assert "Reference 2: slot 1, strength 0.5, scale 1; frames 17 to 25, rows 256 to 384" in report


def test_guides_are_counted_apart(host: Worker) -> None:
    report = host("inspection.report", guides=[0])
    assert "= 48 tokens, and 16 of guides." in report
    assert "Stream vy, text: 64 tokens." in report


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unpatched": ({"model": "unpatched"}, ["Apply TASS-RoPE Patch"]),
    "another model": ({"model": "flux"}, ["model is a Flux"]),
    "another size": ({"height": 5}, ["4 x 4", "5 x 4", "Encode Reference Latent"]),
    "no prompt": ({"without_prompt": True}, ["positive is an empty conditioning"]),
    "BFS's node": ({"model": "bfs"}, ["LTX Identity Transfer"]),
    "two at once": ({"model": "unpatched", "height": 5}, ["Apply TASS-RoPE Patch", "5 x 4"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_says_what_is_wrong(host: Worker, case: str) -> None:
    options, parts = WRONG[case]
    report = host("inspection.report", **options)
    assert report.startswith("What is wrong:\n- ")
    for part in parts:
        assert part in report
