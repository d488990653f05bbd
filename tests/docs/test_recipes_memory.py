"""The recipes' memory is what `--rehearse` wrote, and what it wrote has the code's sizes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from helpers import PROJECT
from helpers.doc_pages import DOCS

from stdrc_core.ltx.backbone import empty_backbone
from stdrc_core.ltx.published import open_sizes
from stdrc_core.train.config import load_config
from stdrc_core.train.trainable import make_trainable, trained_parameters

RECIPES = PROJECT / "stdrc_core" / "train" / "recipes"
REPORTS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((DOCS / "train" / "rehearsals").glob("*.json"))
}
PAGE = (DOCS / "train" / "running.md").read_text(encoding="utf-8")
QUICK_START = (DOCS / "train" / "quick-start.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)\.yaml` \| (\d+) \|(.+)\|$", PAGE, re.MULTILINE)


def gib(size: float) -> str:
    return f"{size / 2**30:.1f}"


def test_the_table_is_what_the_command_wrote():
    assert {f"{recipe}_{frames}" for recipe, frames, _ in ROWS} == set(REPORTS)
    for recipe, frames, cells in ROWS:
        report: dict[str, Any] = REPORTS[f"{recipe}_{frames}"]
        peak = report["peak"]
        told = [cell.strip() for cell in cells.split("|")]
        kinds = ("total", "weights", "frozen", "gradients", "optimizer", "activations")
        assert told == [
            *(gib(peak[kind]) for kind in kinds),
            gib(report["disk"]["checkpoint_bytes"]),
        ]


@pytest.mark.parametrize("name", REPORTS)
def test_what_was_written_has_the_sizes_of_the_code(name: str):
    """Parameters, trained weights, gradients and moments, by the shapes alone."""
    config = load_config(RECIPES / f"{name.rpartition('_')[0]}.yaml")
    # Full weights, which are distilled, have the sizes of the file that their VAE is from.
    model = config.model
    base = model.checkpoint if config.objective.distil is None else model.vae
    backbone = empty_backbone(open_sizes(base))
    num_parameters = sum(p.numel() for p in backbone.parameters())
    with torch.device("meta"):
        make_trainable(backbone, config.trainable, 0)
    num_trained = sum(p.numel() for _, p in trained_parameters(backbone))
    report = REPORTS[name]
    assert (report["num_parameters"], report["num_trained"]) == (num_parameters, num_trained)
    share = report["num_gpus"] if report["is_sharded"] else 1
    assert report["peak"]["gradients"] == pytest.approx(4 * num_trained / share, rel=0.01)
    assert report["peak"]["optimizer"] == pytest.approx(8 * num_trained / share, rel=0.01)


def test_the_quick_start_shows_what_the_command_says():
    report = REPORTS["lora_49"]
    block = QUICK_START.split("--rehearse")[1].split("```text\n")[1].split("```")[0]
    assert f"{report['num_parameters']:,}, trained: {report['num_trained']:,}" in block
    assert f"{report['peak']['total'] / 2**30:.2f} GiB" in block
    assert f"{report['tokens_per_sample']:,} a sample" in block
