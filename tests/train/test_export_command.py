"""`python -m stdrc_core.train export RUN`: any checkpoint of a run as weights."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from helpers import mini_run
from helpers.recipes import train_here
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from stdrc_core.train import export_command
from stdrc_core.train.checkpoints import CheckpointFolder


def export(out: Path, checkpoint: str = "last", path: Path | None = None) -> None:
    export_command.main(argparse.Namespace(run=out, checkpoint=checkpoint, out=path))


def train(out: Path, *files: Path, **sections) -> Path:
    sections["run"] = {"num_steps": 2, "checkpoint_every": 1, "trackers": []}
    return train_here(mini_run.config(out, *files, **sections), out.with_suffix(".yaml"))


def tensors_and_metadata(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return load_file(path), file.metadata()


def same(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return ours.keys() == expected.keys() and all(
        torch.equal(value, expected[name]) and value.dtype == expected[name].dtype
        for name, value in ours.items()
    )


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory, mini_checkpoint: Path, mini_cache: Path) -> Path:
    """Two steps of a LoRA with a checkpoint after each."""
    return train(tmp_path_factory.mktemp("runs") / "lora", mini_checkpoint, mini_cache)


def test_the_last_checkpoint_is_what_the_run_exported(lora: Path):
    export(lora)
    expected = tensors_and_metadata(lora / "stdrc_lora.safetensors")
    ours = tensors_and_metadata(lora / "stdrc_lora_step_00000002.safetensors")
    assert same(ours[0], expected[0])
    assert ours[1] == expected[1]


@pytest.mark.parametrize(
    "sections",
    [{"optimizer": {"lr": 1e-2, "ema_decay": 0.5}}, {"trainable": {"method": "full"}}],
    ids=["average", "full"],
)
def test_averages_and_full_weights_are_exported_alike(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path, sections: dict
):
    out = train(tmp_path / "run", mini_checkpoint, mini_cache, **sections)
    export(out, path=tmp_path / "chosen.safetensors")
    (own,) = out.glob("*.safetensors")
    assert same(load_file(tmp_path / "chosen.safetensors"), load_file(own))


def test_an_earlier_or_the_best_checkpoint_by_name_also_from_a_folder_that_moved(
    lora: Path, tmp_path: Path
):
    moved = tmp_path / "moved"
    moved.symlink_to(lora)
    CheckpointFolder(path=lora / "checkpoints", keep=3).rate(1, 0.5)
    for name, path in (("best", tmp_path / "a"), ("step_00000001", tmp_path / "b")):
        export(moved, name, path)
    assert same(load_file(tmp_path / "a"), load_file(tmp_path / "b"))
    assert not same(load_file(tmp_path / "a"), load_file(lora / "stdrc_lora.safetensors"))


def test_what_is_not_there_is_told(lora: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"step_3; needs one of .*step_00000001, step_00000002"):
        export(lora, "step_3")
    with pytest.raises(ValueError, match=r"nowhere/config\.yaml could not be read"):
        export(tmp_path / "nowhere")
    (tmp_path / "config.yaml").write_text((lora / "config.yaml").read_text())
    with pytest.raises(ValueError, match=r"checkpoint was best; needs one of .*: none"):
        export(tmp_path, "best")


def test_a_checkpoint_of_a_lora_leaves_out_the_base(lora: Path):
    stored = load_file(lora / "checkpoints" / "step_00000002" / "model.safetensors")
    assert stored
    assert all(".lora_" in name for name in stored)
    assert json.loads((lora / "checkpoints" / "step_00000002" / "state.json").read_text())
