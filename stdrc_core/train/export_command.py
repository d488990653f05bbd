"""`python -m stdrc_core.train export RUN`: a checkpoint of a run as weights for ComfyUI."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from .checkpoint_weights import read_weights
from .checkpoints import CheckpointFolder
from .config import TrainConfig, load_config
from .export import export, weights_name
from .resume import CONFIG_NAME

log = logging.getLogger(__name__)

_LOADERS = {"lora": "LoraLoaderModelOnly", "full": "Load Diffusion Model"}


def main(args: argparse.Namespace) -> None:
    """Writes the file; raises ValueError, in one sentence, for a run or checkpoint not there."""
    config = load_config(args.run / CONFIG_NAME)
    # The folder may have moved since the run wrote its configuration.
    section = config.run.model_copy(update={"out": args.run})
    checkpoint = CheckpointFolder.of(section).named(args.checkpoint)
    name = f"{weights_name(config)}_{checkpoint.name}.safetensors"
    path = export(config, read_weights(checkpoint, config), args.out or args.run / name)
    log.info("%s", how_to_load(config, path))


def how_to_load(config: TrainConfig, path: Path) -> str:
    """A sentence on what to do with exported weights."""
    loader = _LOADERS[config.trainable.method]
    return f"weights in {path}: load them in ComfyUI with {loader}, before Apply TASS-RoPE Patch"
