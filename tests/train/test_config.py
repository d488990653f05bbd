"""Training configurations: what is read, changed, refused and saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stdrc_core.method.layout import Placement
from stdrc_core.train.config import TrainConfig, load_config

MINIMAL = {
    "model": {"checkpoint": "ltx.safetensors"},
    "data": {"cache": "cache"},
    "run": {"out": "out"},
    "objective": {"face_pack": "pack"},
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    return path


def test_changes_are_typed_and_reach_into_sections(recipe: Path):
    config = load_config(
        recipe,
        [
            "run.num_steps=50",
            "optimizer.lr=1e-3",
            "reference.placement=overlap",
            "reference.augmentation.p_flip=0",
            "objective.lambda_id=0",
        ],
    )
    assert config.run.num_steps == 50
    assert config.optimizer.lr == 1e-3
    assert config.reference.placement is Placement.OVERLAP
    assert config.reference.augmentation.p_flip == 0
    assert config.objective.lambda_id == 0


def test_the_saved_configuration_reads_back_as_itself(recipe: Path, tmp_path: Path):
    config = load_config(recipe, ["reference.augmentation.max_color=0.3", "trainable.rank=8"])
    saved = tmp_path / "config.yaml"
    saved.write_text(config.to_yaml())
    assert load_config(saved) == config


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("run.num_step=5", ["run.num_step", "not a known key"]),
        ("runs.out=x", ["runs", "not a known key"]),
        ("reference.augmentation.p_flop=1", ["reference.augmentation.p_flop", "not a known key"]),
        ("run.num_steps=0", ["run.num_steps", "0", "greater than or equal to 1"]),
        ("run.num_steps=many", ["run.num_steps", "'many'", "integer"]),
        ("optimizer.lr=.inf", ["optimizer.lr", "inf", "finite"]),
        ("reference.placement=tas", ["reference.placement", "'tas'", "tass"]),
        ("reference.augmentation.p_flip=2", ["p_flip was 2", "from 0 to 1"]),
        ("model.checkpoint=null", ["model.checkpoint", "None"]),
        ("run.micro_batch_size=5", ["run.batch_size was 32", "multiple", "5"]),
        ("objective.face_pack=null", ["face_pack", "lambda_id", "InsightFace"]),
        ("model.loras=a.safetensors", ["model.loras was 'a.safetensors'; needs a list, such as"]),
        ("model.loras=[3]", ["model.loras.0 was 3; needs the path of a file"]),
        ("run.trackers=wandb", ["run.trackers was 'wandb'; needs a list"]),
        ("data.cache=[a]", ["data.cache was ['a']; needs the path"]),
    ],
)
def test_what_is_wrong_is_named_in_one_sentence(recipe: Path, change: str, parts: list[str]):
    with pytest.raises(ValueError) as raised:
        load_config(recipe, [change])
    message = str(raised.value)
    assert "\n" not in message
    assert message.endswith(".")
    for part in parts:
        assert part in message


@pytest.mark.parametrize("change", ["num_steps=5", "run.num_steps", "run.out.deeper=1", "run.=1"])
def test_a_change_of_another_form_is_refused_as_it_was_written(recipe: Path, change: str):
    with pytest.raises(ValueError, match=r"^--set was '.*'; "):
        load_config(recipe, [change])


def test_every_missing_section_is_named(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text("run: {out: x}\n")
    with pytest.raises(ValueError, match="model is missing; data is missing; objective is missing"):
        load_config(path)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "run: [", "just words"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"recipe\.yaml (is not YAML|holds no sections)"):
        load_config(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"nowhere\.yaml could not be read"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_configuration_is_frozen(recipe: Path):
    config: TrainConfig = load_config(recipe)
    with pytest.raises(ValueError, match="frozen"):
        config.run.num_steps = 3
