"""The recipes that ship: all load, and the paper's holds the paper's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

import stdrc_core.train
from stdrc_core.layout import Placement
from stdrc_core.train.config import load_config

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


def test_the_papers_recipe_has_every_number_of_its_section_4():
    (paper,) = (path for path in RECIPES if path.stem == "paper")
    config = load_config(paper)
    assert config.trainable.method == "full"
    assert (config.run.num_steps, config.run.batch_size) == (20_000, 32)
    assert (config.optimizer.name, config.optimizer.lr) == ("adamw", 5e-5)
    objective = config.objective
    assert (objective.lambda_id, objective.lambda_tic, objective.gamma) == (0.1, 0.05, 1.0)
    assert (objective.text_p_drop, config.reference.p_drop) == (0.05, 0.20)
    assert config.reference.placement is Placement.TASS
