"""The command that trains, in this process."""

from __future__ import annotations

import argparse
from pathlib import Path

from stdrc_core.train import run
from stdrc_core.train.config import TrainConfig


def train_here(config: TrainConfig, recipe: Path) -> Path:
    """`python -m stdrc_core.train RECIPE`, the recipe written for it; returns the run's folder."""
    recipe.write_text(config.to_yaml())
    run.main(argparse.Namespace(config=recipe, changes=[], rehearse=False))
    return config.run.out
