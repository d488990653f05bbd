"""The memory of the recipes' table is what `--dry-run` estimates at LTX-2.3's published size."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLLTX2Video
from helpers import PROJECT, published_vae, tiny_ltx
from helpers.cached_samples import EMPTY, MANIFEST, make_sample
from helpers.doc_pages import DOCS

from stdrc_core.ltx import backbone
from stdrc_core.ltx.checkpoint import transformer_key, vae_key
from stdrc_core.ltx.checkpoint_files import Checkpoint, StoredTensor
from stdrc_core.ltx.vae import diffusers_config
from stdrc_core.train import estimate
from stdrc_core.train.cache_writer import CacheWriter
from stdrc_core.train.config import load_config

RECIPES = PROJECT / "stdrc_core" / "train" / "recipes"
PAGE = (DOCS / "train" / "running.md").read_text(encoding="utf-8")
QUICK_START = (DOCS / "train" / "quick-start.md").read_text(encoding="utf-8")
# Recipe -> the cells with frames and sides in the head, GiB below.
HEAD, *ROWS = re.findall(
    r"^\| (recipe|`\w+\.yaml`) \| [^|]+ \| (.+) \| (.+) \|$", PAGE, re.MULTILINE
)
SIZES = [tuple(map(int, re.findall(r"\d+", cell))) for cell in HEAD[1:]]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published file as far as an estimate reads it: settings, and the shapes of the VAE."""
    with torch.device("meta"):
        vae = AutoencoderKLLTX2Video(**diffusers_config(published_vae.LTX_2_3))
    num_blocks = sum(kind == "res_x" for kind, _ in published_vae.LTX_2_3["encoder_blocks"])
    shapes = {vae_key(key, num_blocks - 1): each.shape for key, each in vae.state_dict().items()}
    shapes[transformer_key("proj_in.weight")] = torch.Size((4096, 128))
    # A setting that is left out is the published size.
    made_tiny = re.compile(r"num_|_dim$|channels$")
    settings = {k: each for k, each in tiny_ltx.LTX_2_3.items() if not made_tiny.search(k)}
    checkpoint = Checkpoint(
        path=Path("ltx"),
        is_diffusers=False,
        config={"transformer": settings},
        tensors={
            name: StoredTensor(file=Path("ltx"), name=name, shape=tuple(shape), dtype="BF16")
            for name, shape in shapes.items()
        },
    )
    for module in (backbone, estimate):
        monkeypatch.setattr(module, "open_checkpoint", lambda path: checkpoint)


@pytest.mark.usefixtures("published")
def test_the_table_is_what_dry_run_says(tmp_path: Path):
    assert [name for name, *_ in ROWS] == ["`lora_24gb.yaml`", "`lora.yaml`", "`paper.yaml`"]
    assert ROWS[2][1:] == ("not estimated sharded",) * 2
    for i, (frames, width, height) in enumerate(SIZES):
        made = replace(MANIFEST, num_frames=frames, height=height, width=width)
        with CacheWriter(tmp_path / str(i), made, EMPTY) as writer:
            writer.add(make_sample("clip"))
        for name, *told in ROWS[:2]:
            config = load_config(RECIPES / name.strip("`"), [f"data.cache={tmp_path / str(i)}"])
            result = estimate.estimate(config)
            assert told[i] == f"{result.total_bytes / 2**30:.1f} GiB", name
            if (name, frames) == ("`lora.yaml`", 49):
                assert estimate.describe(result).split("; face model")[0] in QUICK_START
