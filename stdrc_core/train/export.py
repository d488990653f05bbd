"""Trained weights as files that ComfyUI's own loaders read.

A LoRA loads with LoraLoaderModelOnly, full weights with UNETLoader (Load Diffusion Model). The
file's metadata say what it was trained for (`ltx.trained_for`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..ltx.checkpoint import TRANSFORMER_PREFIX, transformer_key, write_tensors
from ..ltx.checkpoint_files import open_checkpoint
from ..ltx.distilled import Distilled
from ..ltx.file_versions import LIGHTRICKS_KEYS, transformer_version
from ..ltx.guidance_embedding import FILE_PREFIX
from ..ltx.trained_for import TrainedFor
from .cache import Cache
from .config import TrainConfig
from .galleries import most_photos

log = logging.getLogger(__name__)

# The names that a run gives its weights are this and diffusers' own.
_RUN_PREFIX = "backbone.transformer."
_EMBEDDING = "backbone.guidance_embedding."
_ADAPTER_SUFFIXES = {".lora_A.default.weight": "lora_A", ".lora_B.default.weight": "lora_B"}


def export(config: TrainConfig, weights: Mapping[str, Tensor], path: Path) -> Path:
    """Writes what a run trained to `path`, which it returns.

    `weights` are named as `loop.Result.weights`. Raises ValueError when full weights cannot be
    completed by the rest of the base checkpoint, and OSError where the file cannot be written.
    """
    if config.trainable.method == "lora":
        tensors = lora_tensors(weights, config.trainable.alpha)
        return write_tensors(path, tensors, trained_for(config).lora_metadata())
    return _export_full(config, weights, path)


def weights_name(config: TrainConfig) -> str:
    """The name of a run's weights without its ending; a distilled student is loaded on the weights
    that it learned from, and has another."""
    student = "" if config.objective.distil is None else "_one_pass"
    return f"stdrc_{config.trainable.method}{student}"


def trained_for(config: TrainConfig) -> TrainedFor:
    """What a run trains its weights for, with the scales that it validates with.

    Those are 1 and 1 for a distilled student, which has its guidance inside.

    The base's version is read off its file. Where that is gone, a warning in the log says that the
    version is not recorded.
    """
    text_scale, reference_scale = config.embedded_scales or config.sampled_scales
    return TrainedFor(
        placement=config.reference.placement,
        reference_timestep=config.reference.timestep,
        text_scale=text_scale,
        reference_scale=reference_scale,
        base_model=config.model.checkpoint.name,
        config_sha256=hashlib.sha256(config.to_yaml().encode()).hexdigest(),
        base_version=_version_of(config.model.checkpoint),
        **_samples_of(config),
        distilled=_distilled(config),
        base_loras=tuple(path.name for path in config.model.loras) or None,
    )


def _distilled(config: TrainConfig) -> Distilled | None:
    distil = config.objective.distil
    if distil is None:
        return None
    return Distilled(text_scale=distil.text_scale, reference_scale=distil.reference_scale)


def _version_of(checkpoint: Path) -> str | None:
    try:
        return transformer_version(checkpoint)
    except ValueError as error:
        log.warning("the version of LTX that was trained is not recorded: %s", error)
        return None


def _samples_of(config: TrainConfig) -> dict[str, Any]:
    """What the run's samples are like; where the cache is gone, what the configuration asked for.

    Clips of one frame are single frames, and have no first one.
    """
    objective, limit = config.objective, config.reference.max_photos
    has_first, has_single = objective.first_frame_share > 0, objective.single_frame_share > 0
    try:
        cache = Cache(config.data.cache)
    except ValueError:
        photos = {"max_photos": limit}
        return photos | {"first_frames": has_first, "single_frames": has_single}
    num_frames = cache.manifest.num_frames
    return {
        "max_photos": most_photos(cache, limit),
        "first_frames": has_first and num_frames > 1,
        "single_frames": has_single or num_frames == 1,
        "num_frames": num_frames,
    }


def lora_tensors(weights: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """peft's adapter under the names that LoRA loaders know, in bfloat16 on the CPU.

    Each module has `alpha` beside its two matrices, as loaders divide it by the rank. An embedding
    of guidance scales keeps its precision and has names of its own.
    """
    tensors = {}
    for name, value in weights.items():
        if name.startswith(_EMBEDDING):
            own = name.replace(_EMBEDDING, FILE_PREFIX)
            tensors[own] = value.detach().float().cpu()
            continue
        suffix = next(suffix for suffix in _ADAPTER_SUFFIXES if name.endswith(suffix))
        module = transformer_key(name.removeprefix(_RUN_PREFIX).removesuffix(suffix))
        module = module.removeprefix("model.")
        tensors[f"{module}.{_ADAPTER_SUFFIXES[suffix]}.weight"] = value.detach().cpu().bfloat16()
        tensors[f"{module}.alpha"] = torch.tensor(alpha)
    return tensors


def require_exportable(config: TrainConfig) -> None:
    """Raises ValueError where the weights of a run could not be exported after it."""
    base = config.model.checkpoint
    if config.trainable.method == "full" and base.is_dir():
        raise ValueError(
            f"model.checkpoint was the folder {base}; needs a single or split file to train full "
            "weights, whose export takes audio tower and connectors from it."
        )


def _export_full(config: TrainConfig, weights: Mapping[str, Tensor], path: Path) -> Path:
    """Writes the trained video branch with the audio branch and the connectors of the base file."""
    require_exportable(config)
    base = config.model.checkpoint
    trained = {
        transformer_key(name.removeprefix(_RUN_PREFIX)): value.detach().cpu().bfloat16()
        for name, value in weights.items()
    }
    checkpoint = open_checkpoint(base)
    untouched = [
        name
        for name in checkpoint.tensors
        if name.startswith(TRANSFORMER_PREFIX) and name not in trained
    ]
    rest = dict(checkpoint.read(untouched, dtype=None, device="cpu"))
    told = {key: checkpoint.metadata[key] for key in LIGHTRICKS_KEYS if key in checkpoint.metadata}
    metadata = told | trained_for(config).full_metadata(checkpoint.config)
    return write_tensors(path, rest | trained, metadata)
