"""The page of all keys is what its command prints, and its sentences are of one form."""

from __future__ import annotations

import re

import pytest
from helpers.doc_pages import DOCS

from stdrc_core.method.augmentation import Augmentation
from stdrc_core.train.__main__ import main
from stdrc_core.train.config import TrainConfig
from stdrc_core.train.distil_config import DistilSection

PAGE = DOCS / "train" / "configuration.md"
# A row: key, default, what it does.
ROWS = {
    key: (default, about)
    for key, default, about in re.findall(
        r"^\| `([\w.]+)` \| ([^|]+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
}


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]):
    main(["configuration"])
    assert capsys.readouterr().out == PAGE.read_text(encoding="utf-8"), (
        "python -m stdrc_core.train configuration --out docs/train/configuration.md"
    )


def test_every_key_has_a_row():
    """Counted apart from the page's own code."""
    names = {
        f"{section}.{name}"
        for section, field in TrainConfig.model_fields.items()
        for name in field.annotation.model_fields
    }
    augmentation = {f"reference.augmentation.{name}" for name in vars(Augmentation())}
    distil = {f"objective.distil.{name}" for name in DistilSection.model_fields}
    items = {"prompt", "photo", "further", "seed"}
    assert ROWS.keys() == (names - {"reference.augmentation"}) | augmentation | distil | items


def test_a_row_has_its_default_and_its_range():
    assert ROWS["run.out"][0] == "required"
    assert ROWS["run.num_steps"] == (
        "`20000`",
        "How many optimizer steps to run; raising it continues a finished run. At least 1.",
    )
    assert ROWS["model.offload"][0] == "`false`"
    assert ROWS["objective.timestep_shift"][0] == "none"
    assert ROWS["run.trackers"][0] == "`tensorboard`, `wandb`"
    for key, ending in {
        "optimizer.lr": "Above 0.",
        "optimizer.ema_decay": "At least 0, below 1.",
        "objective.identity_share": "Above 0, at most 1.",
        "validation.height": "At least 1, a multiple of 32.",
        "model.vae_dtype": "One of `bfloat16`, `float32`.",
        "run.trackers": "Any of `tensorboard`, `wandb`.",
        "reference.augmentation.max_rotation_deg": "From 0 to 45.",
    }.items():
        assert ROWS[key][1].endswith(f". {ending}"), key


@pytest.mark.parametrize("key", ROWS)
def test_a_key_says_what_it_does_in_a_sentence(key: str):
    """The fragments that began with "Of the ..." do not come back."""
    about = ROWS[key][1]
    assert re.match(r"(How|Which|What|Where|Whether|The) \w", about)
    assert about.endswith(".")
