"""Trained weights as files for ComfyUI's own loaders.

A LoRA loads with LoraLoaderModelOnly, full weights with UNETLoader (Load Diffusion Model). The
metadata tell under `stdrc` what the weights were trained for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from ..checkpoint import TRANSFORMER_PREFIX, transformer_key, write_tensors
from ..guidance import REFERENCE_SCALE, TEXT_SCALE
from .config import TrainConfig

METADATA_KEY = "stdrc"
_FORMAT_VERSION = 1
# Before diffusers' own names in the names that a run gives its weights.
_RUN_PREFIX = "backbone.transformer."
_ADAPTER_SUFFIXES = {".lora_A.default.weight": "lora_A", ".lora_B.default.weight": "lora_B"}


def export(config: TrainConfig, weights: Mapping[str, Tensor], path: Path) -> Path:
    """Writes what a run trained; returns the file's path.

    `weights` are named as `loop.Result.weights`. Raises ValueError when full weights cannot be
    completed by the rest of the base checkpoint.
    """
    if config.trainable.method == "lora":
        return write_tensors(path, lora_tensors(weights, config.trainable.alpha), metadata(config))
    return _export_full(config, weights, path)


def metadata(config: TrainConfig) -> dict[str, str]:
    """What a loader needs to know of the weights, as safetensors metadata."""
    facts = {
        "format_version": _FORMAT_VERSION,
        "placement": config.reference.placement.value,
        "reference_timestep": config.reference.timestep.value,
        "text_scale": TEXT_SCALE,
        "reference_scale": REFERENCE_SCALE,
        "base_model": config.model.checkpoint.name,
        "config_sha256": hashlib.sha256(config.to_yaml().encode()).hexdigest(),
    }
    return {METADATA_KEY: json.dumps(facts)}


def lora_tensors(weights: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """peft's adapter as LoRA keys of the single file's names, bfloat16, with `alpha` by module."""
    tensors = {}
    for name, value in weights.items():
        suffix = next(suffix for suffix in _ADAPTER_SUFFIXES if name.endswith(suffix))
        module = transformer_key(name.removeprefix(_RUN_PREFIX).removesuffix(suffix))
        module = module.removeprefix("model.")
        tensors[f"{module}.{_ADAPTER_SUFFIXES[suffix]}.weight"] = value.detach().cpu().bfloat16()
        tensors[f"{module}.alpha"] = torch.tensor(alpha)
    return tensors


def _export_full(config: TrainConfig, weights: Mapping[str, Tensor], path: Path) -> Path:
    """The trained video branch, and from the base file what was not trained: audio, connectors."""
    base = config.model.checkpoint
    if not base.is_file():
        raise ValueError(
            f"model.checkpoint was {base}; needs a single or split file to export full weights, "
            "which take audio tower and connectors from it."
        )
    trained = {
        transformer_key(name.removeprefix(_RUN_PREFIX)): value.detach().cpu().bfloat16()
        for name, value in weights.items()
    }
    with safe_open(base, framework="pt") as file:
        known = dict(file.metadata() or {})
        rest = {
            key: file.get_tensor(key)
            for key in file.keys()  # noqa: SIM118 (safe_open is no mapping)
            if key.startswith(TRANSFORMER_PREFIX) and key not in trained
        }
    config_json = {"config": known["config"]} if "config" in known else {}
    return write_tensors(path, rest | trained, config_json | metadata(config))
