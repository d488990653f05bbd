"""The recipes that ship: all load, and the paper's holds the paper's numbers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from helpers import commands
from helpers.drawn_faces import RED, write_photo
from safetensors.torch import load_file

import stdrc_core.train
from stdrc_core.ltx.file_versions import CONV_VAE_2_5
from stdrc_core.method.layout import Placement
from stdrc_core.mini.config import NUM_LAYERS
from stdrc_core.train.batches import own_share
from stdrc_core.train.config import TrainConfig, load_config
from stdrc_core.train.rehearsal import rehearse
from stdrc_core.train.resume import flat

RECIPES = sorted(
    path
    for path in (Path(stdrc_core.train.__file__).parent / "recipes").glob("*.yaml")
    if not path.stem.startswith("accelerate_")
)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_loads_and_its_saved_form_is_itself(recipe: Path, tmp_path: Path):
    config = load_config(recipe)
    saved = tmp_path / "config.yaml"
    saved.write_text(config.to_yaml())
    assert load_config(saved) == config


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_each_batch_can_be_shared_over_the_gpus_of_the_launch_files(recipe: Path):
    config = load_config(recipe)
    for file in recipe.parent.glob("accelerate_*.yaml"):
        num_processes = yaml.safe_load(file.read_text())["num_processes"]
        assert len(own_share(config.run.batch_size, 0, num_processes)) > 0


def test_each_row_of_the_ablation_adds_one_thing():
    """And the weights that ship are the last row's method, for longer, with less time a step, and
    with several photos, first frames and single frames besides."""
    rows = ("mini_overlap", "mini_tass", "mini_augmentation", "mini_identity", "mini")
    paths = [RECIPES[0].with_stem(row) for row in rows]
    configs = [dict(flat(load_config(path).model_dump(mode="json"))) for path in paths]
    changes = [
        {key for key in before if before[key] != after[key]} - {"run.out"}
        for before, after in pairwise(configs)
    ]
    losses = {"objective.lambda_id", "objective.lambda_tic", "objective.face_pack"}
    assert changes[0] == {"reference.placement"}
    assert {key.rpartition(".")[0] for key in changes[1]} == {"reference.augmentation"}
    assert changes[2] == losses | {"objective.identity_share"}
    longer = {"run.num_steps", "optimizer.lr", "optimizer.num_decay_steps"}
    fewer = {"objective.identity_from", "objective.identity_frames"}
    frames = {"objective.first_frame_share", "objective.single_frame_share"}
    assert changes[3] == longer | fewer | frames | {"reference.num_photos"}


@pytest.mark.parametrize("name", ["lora_24gb", "lora_24gb_ltx25"])
def test_the_24_gb_recipe_saves_memory_in_every_way_there_is(name: str):
    (small,) = (path for path in RECIPES if path.stem == name)
    config = load_config(small)
    model = config.model
    assert (model.quantization, model.gradient_checkpointing, model.offload) == ("int8", True, True)
    assert (config.trainable.method, config.run.micro_batch_size) == ("lora", 1)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_fits_the_miniature(
    recipe: Path, mini_checkpoint: Path, mini_cache: Path, pack: Path
):
    """What --rehearse does: a step on tensors without numbers, of the cache's size."""
    places = {
        "model.checkpoint": mini_checkpoint,
        "model.vae": mini_checkpoint,
        "data.cache": mini_cache,
        "objective.face_pack": pack,
    }
    result = rehearse(load_config(recipe, [f"{key}={path}" for key, path in places.items()]))
    assert result.num_parameters >= result.num_trained > 0
    assert result.peak.total > result.peak.weights > 0


def test_the_24_gb_recipe_trains_and_validates_the_miniature(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    (small,) = (path for path in RECIPES if path.stem == "lora_24gb")
    changes = {
        "model.checkpoint": mini_checkpoint,
        "data.cache": mini_cache,
        "objective.lambda_id": 0,
        "objective.lambda_tic": 0,
        "objective.face_pack": "null",
        "run.out": tmp_path,
        "run.num_steps": 1,
        "validation.every": 1,
        "validation.num_steps": 2,
        "validation.text_encoder": "miniature",
        "validation.items": f"[{{prompt: a man, photo: {write_photo(tmp_path / 'red.png', RED)}}}]",
    }
    options = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    # A process of its own: accelerate keeps a process's first mixed precision for good.
    commands.train("run", small, *options)
    exported = load_file(tmp_path / "stdrc_lora.safetensors")
    moved = [value for name, value in exported.items() if "lora_B" in name]
    assert len(moved) == NUM_LAYERS * 10
    assert all(value.isfinite().all() and value.any() for value in moved)
    assert (tmp_path / "validation" / "step_00000001" / "00.mp4").stat().st_size > 0


@pytest.mark.parametrize("name", ["lora", "lora_24gb"])
def test_those_of_ltx_2_5_differ_in_the_files_alone(name: str):
    old, new = (
        dict(flat(load_config(RECIPES[0].with_stem(stem)).model_dump(mode="json")))
        for stem in (name, f"{name}_ltx25")
    )
    changed = {key for key in old if old[key] != new[key]}
    assert changed == {"model.checkpoint", "model.vae", "data.cache", "run.out"}
    assert new["model.vae"] == CONV_VAE_2_5


PAPER = load_config(next(path for path in RECIPES if path.stem == "paper"))
REQUIRED = {
    "model": {"checkpoint": "ltx.safetensors"},
    "data": {"cache": "cache"},
    "run": {"out": "out"},
    "objective": {"face_pack": "pack"},
}


def test_the_papers_recipe_trains_all_of_the_video_branch():
    assert PAPER.trainable.method == "full"


@pytest.mark.parametrize(
    "config", [PAPER, TrainConfig.model_validate(REQUIRED)], ids=["recipe", "defaults"]
)
def test_the_papers_recipe_and_the_defaults_have_every_number_of_its_section_4(
    config: TrainConfig,
):
    assert (config.run.num_steps, config.run.batch_size) == (20_000, 32)
    assert (config.optimizer.name, config.optimizer.lr) == ("adamw", 5e-5)
    objective = config.objective
    assert (objective.lambda_id, objective.lambda_tic, objective.gamma) == (0.1, 0.05, 1.0)
    assert (objective.text_p_drop, config.reference.p_drop) == (0.05, 0.20)
    assert config.reference.placement is Placement.TASS
