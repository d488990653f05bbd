"""A run goes on in its own folder, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import stand_in_run
from helpers.recipes import train_here

from stdrc_core.train.checkpoints import CheckpointFolder
from stdrc_core.train.resume import require_same_run


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a run that has a checkpoint."""
    config = stand_in_run.config(tmp_path / "run")
    CheckpointFolder.of(config.run).write(2, lambda path: None)
    (config.run.out / "config.yaml").write_text(config.to_yaml())
    return config.run.out


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"model": {"checkpoint": "other"}}, r"model\.checkpoint \(was unused, is other\)"),
        ({"trainable": {"rank": 8}}, r"trainable\.rank \(was 64, is 8\)"),
        ({"trainable": {"method": "lora"}}, r"trainable\.method \(was full, is lora\)"),
        ({"run": {"seed": 1}}, r"run\.seed \(was 0, is 1\)"),
        ({"run": {"batch_size": 8}}, r"run\.batch_size \(was 4, is 8\)"),
        ({"optimizer": {"name": "adamw_8bit"}}, r"optimizer\.name"),
        ({"optimizer": {"ema_decay": 0}}, r"optimizer\.ema_decay \(was 0\.9, is 0\.0\)"),
        ({"reference": {"augmentation": {"p_flip": 0}}}, r"reference\.augmentation\.p_flip"),
        ({"data": {"cache": "another"}}, r"data\.cache \(was unused, is another\)"),
    ],
)
def test_another_run_is_refused_by_the_key_that_differs(begun: Path, section: dict, says: str):
    with pytest.raises(ValueError, match=says + r".*take another run\.out"):
        require_same_run(stand_in_run.config(begun, **section))


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"run": {"num_steps": 99, "checkpoint_every": 7, "keep_checkpoints": 1, "log_every": 5}},
        {"run": {"micro_batch_size": 1, "trackers": []}},
        {"optimizer": {"lr": 1e-4, "weight_decay": 0, "max_grad_norm": 0.5}},
        {"optimizer": {"num_decay_steps": 2}},
        {"model": {"checkpoint": "moved/unused", "gradient_checkpointing": False}},
        {"model": {"compile": True}},
        {"validation": {"num_steps": 3}},
    ],
)
def test_what_does_not_make_it_another_run_may_change(begun: Path, section: dict):
    require_same_run(stand_in_run.config(begun, **section))


def test_a_folder_that_moved_is_still_the_run(begun: Path):
    moved = begun.rename(begun.with_name("moved"))
    require_same_run(stand_in_run.config(moved))


def test_without_a_checkpoint_there_is_nothing_to_differ_from(tmp_path: Path):
    require_same_run(stand_in_run.config(tmp_path))
    (tmp_path / "config.yaml").write_text(stand_in_run.config(tmp_path).to_yaml())
    require_same_run(stand_in_run.config(tmp_path, run={"seed": 1}))


def test_the_command_refuses_before_it_loads_anything(begun: Path, tmp_path: Path):
    """Neither the model nor the cache of this recipe exists, and that is not what is said."""
    config = stand_in_run.config(begun, trainable={"rank": 8})
    with pytest.raises(ValueError, match=r"trainable\.rank \(was 64, is 8\)"):
        train_here(config, tmp_path / "recipe.yaml")
