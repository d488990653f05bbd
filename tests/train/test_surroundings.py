"""What a run asks of its machine before it starts: room for its checkpoints, time to stop in."""

from __future__ import annotations

import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from diffusers import LTX2VideoTransformer3DModel
from helpers import PROJECT, mini_run
from helpers.tiny_ltx import LTX_2_3

from stdrc_core.ltx.backbone import VideoBackbone
from stdrc_core.ltx.transformer_config import arguments_of
from stdrc_core.train import surroundings
from stdrc_core.train.config import TrainConfig
from stdrc_core.train.surroundings import (
    SHUTDOWN_TIMEOUT,
    DiskNeed,
    disk_need,
    require_disk_space,
    warn_of_short_shutdown,
)

RUNNING = (PROJECT / "docs" / "train" / "running.md").read_text(encoding="utf-8")
VALIDATION = {"text_encoder": "miniature", "items": [{"prompt": "a man", "photo": "a.png"}]}
FACES = {"lambda_id": 0, "lambda_tic": 0, "face_pack": "buffalo_l"}
Usage = namedtuple("Usage", "total used free")


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_checkpoint_and_the_weights_are_as_large_as_is_said(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path, method: str, ema_decay: float
):
    config = mini_run.config(
        tmp_path,
        mini_checkpoint,
        mini_cache,
        run={"num_steps": 1},
        trainable={"method": method, "rank": 64},
        optimizer={"ema_decay": ema_decay},
    )
    need = disk_need(config)
    _, result = mini_run.train(config)
    assert need.checkpoint_bytes == pytest.approx(size_of(result.checkpoint), rel=0.02)
    assert need.num_checkpoints == 1


def paper(tmp_path: Path, mini_checkpoint: Path, **sections) -> TrainConfig:
    """The miniature with the numbers of `paper.yaml`."""
    run = {"num_steps": 20_000, "checkpoint_every": 500, "keep_checkpoints": 3, "batch_size": 32}
    sections = {"run": run, "trainable": {"method": "full"}} | sections
    return mini_run.config(tmp_path / "run", mini_checkpoint, tmp_path, **sections)


def test_checkpoints_that_are_kept_are_counted_with_the_one_being_written(
    tmp_path: Path, mini_checkpoint: Path
):
    assert disk_need(paper(tmp_path, mini_checkpoint)).num_checkpoints == 3 + 1
    rated = paper(
        tmp_path, mini_checkpoint, validation={**VALIDATION, "every": 500}, objective=FACES
    )
    assert disk_need(rated).num_checkpoints == 3 + 1 + 1
    short = paper(tmp_path, mini_checkpoint, run={"num_steps": 700})
    assert disk_need(short).num_checkpoints == 2


def test_a_disk_that_is_too_small_is_one_sentence_before_anything_starts(
    tmp_path: Path, mini_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    config = paper(tmp_path, mini_checkpoint)
    need = DiskNeed(
        checkpoint_bytes=159_000_000_000, num_checkpoints=4, weights_bytes=46_000_000_000
    )
    asked = []

    def disk_usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(0, 0, 700_000_000_000)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    said = require_disk_space(config, need)
    assert said == (
        f"run.out {config.run.out} needs 682 GB of disk: 4 checkpoints of 159 GB at most (the 3 "
        "newest and the one being written) and 46 GB of weights at the end; 700 GB are free."
    )
    assert asked == [tmp_path], "the folder is not made yet"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 600_000_000_000))
    with pytest.raises(ValueError, match="600 GB are free: make room, lower run"):
        require_disk_space(config, need)


def test_checkpoints_that_are_there_are_room(
    tmp_path: Path, mini_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    config = paper(tmp_path, mini_checkpoint)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 4_000))
    need = DiskNeed(checkpoint_bytes=1_000, num_checkpoints=4, weights_bytes=500)
    with pytest.raises(ValueError, match="needs"):
        require_disk_space(config, need)
    old = config.run.out / "checkpoints" / "step_00000500" / "model.safetensors"
    old.parent.mkdir(parents=True)
    old.write_bytes(bytes(1_000))
    require_disk_space(config, need)


@pytest.mark.parametrize(
    ("row", "sections"),
    [
        ("a LoRA of rank 32", {"trainable": {"method": "lora", "rank": 32}}),
        ("a LoRA of rank 64", {"trainable": {"method": "lora", "rank": 64}}),
        ("all weights, as", {}),
        ("all weights, with", {"validation": {**VALIDATION, "every": 500}, "objective": FACES}),
    ],
)
def test_the_table_of_the_docs_is_what_a_run_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str, sections: dict
):
    """At the size of LTX-2.3, whose file of 46 GB is made of nothing."""
    sizes = {
        "num_attention_heads": 32,
        "attention_head_dim": 128,
        "cross_attention_dim": 4096,
        "audio_num_attention_heads": 32,
        "audio_attention_head_dim": 64,
        "audio_cross_attention_dim": 2048,
        "num_layers": 48,
    }
    with torch.device("meta"):
        whole = LTX2VideoTransformer3DModel(**arguments_of(LTX_2_3 | sizes, "the test"))
        backbone = VideoBackbone(whole)
    monkeypatch.setattr(surroundings, "empty_backbone", lambda path: backbone)
    base = tmp_path / "ltx.safetensors"
    with base.open("wb") as file:
        file.truncate(46_000_000_000)
    config = paper(tmp_path, base, **sections)
    need = disk_need(config)
    (line,) = re.findall(rf"^\| {row}.*$", RUNNING, re.MULTILINE)
    _, *cells = (cell.strip() for cell in line.strip("|").split("|"))
    told = surroundings._told
    assert cells == [
        told(need.checkpoint_bytes),
        str(need.num_checkpoints),
        told(need.weights_bytes),
        told(need.total_bytes),
    ]


FULL = 159_000_000_000


@pytest.mark.parametrize(
    ("environment", "warns"),
    [
        ({}, False),
        ({"TORCHELASTIC_RUN_ID": "a"}, True),
        ({"TORCHELASTIC_RUN_ID": "a", SHUTDOWN_TIMEOUT: "300"}, True),
        ({"TORCHELASTIC_RUN_ID": "a", SHUTDOWN_TIMEOUT: "1800"}, False),
    ],
)
def test_a_launcher_that_would_kill_the_run_early_is_warned_of(
    environment: dict[str, str],
    warns: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    for name in ("TORCHELASTIC_RUN_ID", SHUTDOWN_TIMEOUT):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    warn_of_short_shutdown(FULL)
    assert bool(caplog.records) is warns
    if warns:
        given = environment.get(SHUTDOWN_TIMEOUT, "30")
        assert f"kills a run {given} s after" in caplog.text
        assert f"set {SHUTDOWN_TIMEOUT}=696 in the environment of the launcher" in caplog.text


def test_a_launcher_that_cannot_be_told_has_another_remedy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """As torch 2.11, which always kills after 30 s."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    monkeypatch.setenv(SHUTDOWN_TIMEOUT, "1800")
    monkeypatch.setattr(surroundings, "LaunchConfig", namedtuple("LaunchConfig", "rdzv"))
    monkeypatch.setattr(surroundings.LaunchConfig, "__dataclass_fields__", {}, raising=False)
    warn_of_short_shutdown(FULL)
    assert "kills a run 30 s after" in caplog.text
    assert "send SIGTERM to one of the run's own processes" in caplog.text


def test_every_documented_launch_gives_a_stopped_run_its_time():
    pages = [*(PROJECT / "docs").rglob("*.md"), PROJECT / "README.md"]
    pages += (PROJECT / "stdrc_core" / "train").rglob("*.yaml")
    launches = [
        line
        for page in pages
        for line in page.read_text().splitlines()
        if re.search(r"(torchrun|accelerate launch) .*-m stdrc_core\.train", line)
    ]
    assert len(launches) >= 4
    assert [line for line in launches if f"{SHUTDOWN_TIMEOUT}=1800 " not in line] == []
