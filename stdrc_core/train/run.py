"""`python -m stdrc_core.train run CONFIG.yaml`: trains, or says with `--dry-run` what it takes."""

from __future__ import annotations

import argparse
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from ..backbone import empty_backbone
from ..grid import LTX_SCALE_FACTORS, LatentGrid
from .assemble import assemble
from .cache import Cache
from .config import TrainConfig, load_config
from .export import export
from .loop import Parts, train
from .prepare_command import open_text_encoder
from .tracks import PackFinder
from .trainable import make_trainable, trained_parameters
from .validation import Case, Validator, open_face_pack, read_cases, read_photos

log = logging.getLogger(__name__)

_GIB = 2**30
# Its name, its package and its folder in the run's; without the package nothing is lost.
TRACKER = "tensorboard"
# Rough sizes of what a transformer block keeps for its backward pass, in activations of the width
# of the model per token: with checkpointing the block's input alone, and one block in full.
_KEPT_PER_TOKEN, _KEPT_PER_TOKEN_CHECKPOINTED = 34, 1
# AdamW keeps two moments beside the weight and its gradient, all in float32.
_BYTES_PER_TRAINED = {"adamw": 16, "adamw_8bit": 10}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run takes on one process; bytes. Activations are a rule of thumb."""

    num_parameters: int
    num_trained: int
    tokens_per_sample: int
    tokens_per_step: int
    weights_bytes: int
    training_bytes: int
    activation_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.training_bytes + self.activation_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="YAML recipe")
    parser.add_argument(
        "--set",
        dest="changes",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="changes a value of the recipe; may be given several times",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="prints the resolved configuration and what the run would take, and stops",
    )


def main(args: argparse.Namespace) -> None:
    """Raises ValueError, in one sentence, for what is wrong with the configuration or its files."""
    config = load_config(args.config, args.changes)
    validates = config.validation.every > 0
    if validates:
        read_photos(config.validation)
    if args.dry_run:
        log.info("%s\n%s", config.to_yaml(), describe(estimate(config)))
        return
    trackers = [TRACKER] if importlib.util.find_spec(TRACKER) else None
    accelerator = Accelerator(
        mixed_precision="bf16" if config.model.dtype == "bfloat16" else "no",
        log_with=trackers,
        project_dir=config.run.out,
    )
    if validates and accelerator.is_fsdp2:
        raise ValueError(
            f"validation.every was {config.validation.every} with FSDP2; needs 0: one process "
            "alone cannot run sharded weights."
        )
    validates = validates and accelerator.is_main_process
    faces, cases = None, []
    if validates:
        # Before the model is loaded: the text encoder is gone again when it comes.
        faces, cases = _read_validation(config, accelerator.device)
    parts = assemble(config, accelerator.device)
    validate = _make_validator(config, parts, cases, faces) if validates else None
    accelerator.init_trackers(TRACKER)
    result = train(config, parts, accelerator, validate)
    accelerator.end_training()
    if accelerator.is_main_process:
        loader = {"lora": "LoraLoaderModelOnly", "full": "Load Diffusion Model"}
        method = config.trainable.method
        path = export(config, result.weights, config.run.out / f"stdrc_{method}.safetensors")
        log.info(
            "%d steps done; weights in %s: load them in ComfyUI with %s, before Apply TASS-RoPE "
            "Patch. Last checkpoint: %s",
            result.num_steps,
            path,
            loader[method],
            result.checkpoint,
        )


def _read_validation(
    config: TrainConfig, device: torch.device
) -> tuple[PackFinder | None, list[Case]]:
    pack, section = config.objective.face_pack, config.validation
    faces = None if pack is None else open_face_pack(pack)
    text = open_text_encoder(section.text_encoder, config.model.checkpoint, device)
    return faces, read_cases(section, text, faces)


def _make_validator(
    config: TrainConfig, parts: Parts, cases: list[Case], faces: PackFinder | None
) -> Validator:
    return Validator(
        config,
        model=parts.model,
        vae=parts.objective.encode_reference.vae,
        manifest=parts.samples.cache.manifest,
        empty_context=parts.objective.empty_context,
        cases=cases,
        faces=faces,
    )


def estimate(config: TrainConfig) -> Estimate:
    """Counts parameters and tokens from file headers alone; loads no weights."""
    cache = Cache(config.data.cache)
    made, scale = cache.manifest, LTX_SCALE_FACTORS
    backbone = empty_backbone(config.model.checkpoint)
    num_parameters = sum(p.numel() for p in backbone.parameters())
    with torch.device("meta"):
        make_trainable(backbone, config.trainable, config.run.seed)
    num_trained = sum(p.numel() for _, p in trained_parameters(backbone))
    # The reference is one latent frame more.
    grid = LatentGrid(
        num_frames=(made.num_frames - 1) // scale.time + 2,
        height=made.height // scale.height,
        width=made.width // scale.width,
    )
    element = getattr(torch, config.model.dtype).itemsize
    shape = backbone.transformer.config
    width = shape.num_attention_heads * shape.attention_head_dim
    per_layer = grid.num_tokens * width * element * config.run.micro_batch_size
    if config.model.gradient_checkpointing:
        kept = shape.num_layers * _KEPT_PER_TOKEN_CHECKPOINTED + _KEPT_PER_TOKEN
    else:
        kept = shape.num_layers * _KEPT_PER_TOKEN
    return Estimate(
        num_parameters=num_parameters,
        num_trained=num_trained,
        tokens_per_sample=grid.num_tokens,
        tokens_per_step=grid.num_tokens * config.run.batch_size,
        weights_bytes=num_parameters * element,
        training_bytes=num_trained * _BYTES_PER_TRAINED[config.optimizer.name],
        activation_bytes=per_layer * kept,
    )


def describe(result: Estimate) -> str:
    return (
        f"parameters: {result.num_parameters:,}, trained: {result.num_trained:,}\n"
        f"tokens: {result.tokens_per_sample:,} a sample with its reference, "
        f"{result.tokens_per_step:,} a step\n"
        f"memory of one process, roughly: {result.total_bytes / _GIB:.2f} GiB (weights "
        f"{result.weights_bytes / _GIB:.2f}, training state {result.training_bytes / _GIB:.2f}, "
        f"activations {result.activation_bytes / _GIB:.2f}; VAE and face model not counted)"
    )
