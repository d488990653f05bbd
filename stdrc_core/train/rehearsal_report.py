"""What a rehearsed run takes, in words and as JSON, and what to change where it does not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ..files import write_json
from ..rehearsal.report import GIB, Verdict, as_table, gib, judge, memory_rows
from .config import TrainConfig
from .rehearsal import Rehearsal


def describe(config: TrainConfig, result: Rehearsal, vram_gib: float) -> str:
    """A rehearsal as a table, with the verdict for a GPU of `vram_gib` below it."""
    rows = [
        ("parameters", f"{result.num_parameters:,}, trained: {result.num_trained:,}"),
        ("tokens", f"{result.tokens_per_sample:,} a sample, {result.tokens_per_step:,} a step"),
        ("GPUs", f"{result.num_gpus}{', weights sharded (FSDP2)' * result.is_sharded}"),
        *memory_rows(result.peak),
        ("host memory", _host(result)),
        ("a step on a GPU", f"{result.flops_per_step / 1e12:,.0f} TFLOP"),
        ("network in a step", gib(result.network_per_step) if result.num_gpus > 1 else "none"),
        ("disk", _disk(result)),
    ]
    return f"{as_table(rows)}\n{verdict(config, result, vram_gib).sentence}"


def verdict(config: TrainConfig, result: Rehearsal, vram_gib: float) -> Verdict:
    """Whether the run fits GPUs of `vram_gib`, with the means that the recipe does not use yet."""
    return judge(result.peak.total, vram_gib, _remedies(config, result))


def write_report(path: Path, config: TrainConfig, result: Rehearsal, vram_gib: float) -> None:
    """Writes a rehearsal to a JSON file: all that the table tells, in bytes."""
    judged = verdict(config, result, vram_gib)
    values: dict[str, Any] = dataclasses.asdict(result)
    values["peak"]["total"] = result.peak.total
    write_json(path, values | {"vram_gib": vram_gib, "fits": judged.fits})


def _host(result: Rehearsal) -> str:
    """Host memory in words; what reading the base needs is not held, but must be there."""
    read = f"RAM and swap of {result.checkpoint_file / GIB:.0f} GiB to read the base"
    if result.is_sharded:
        return f"{gib(result.host_loading)} while the main process loads; {read}"
    return f"{gib(result.host_kept)} kept beside the process itself; {read}"


def _disk(result: Rehearsal) -> str:
    """The disk in words."""
    need = result.disk
    checkpoints = f"{gib(need.checkpoint_bytes)} a checkpoint, {need.num_checkpoints} at most"
    return f"{checkpoints}; {gib(need.weights_bytes)} of weights; {gib(need.total_bytes)} in all"


def _remedies(config: TrainConfig, result: Rehearsal) -> list[str]:
    """What takes less memory, by what takes the most of it."""
    model, objective = config.model, config.objective
    peak = result.peak
    state = peak.gradients + peak.optimizer
    found: list[tuple[int, str]] = []
    if config.trainable.method == "full":
        if objective.distil is None:
            more = max(8, 2 * result.num_gpus)
            found.append((peak.weights + state, f"shard it over more GPUs (--gpus {more})"))
        found.append((peak.weights, "train a LoRA (trainable.method lora)"))
    else:
        if model.quantization == "none":
            found.append((peak.weights, "model.quantization int8"))
        found.append((state, f"a lower trainable.rank than {config.trainable.rank}"))
    if not model.gradient_checkpointing:
        found.append((peak.activations, "model.gradient_checkpointing true"))
    elif not model.offload:
        found.append((peak.activations // 2 + peak.frozen // 2, "model.offload true"))
    if config.run.micro_batch_size > 1:
        found.append((peak.activations // 2, "run.micro_batch_size 1"))
    if config.optimizer.name == "adamw" and not result.is_sharded:
        found.append((peak.optimizer * 3 // 4, "optimizer.name adamw_8bit"))
    if objective.has_identity_losses and objective.identity_crop_margin is None:
        found.append((peak.activations // 3, "objective.identity_crop_margin 2"))
    found.append((0, "clips of fewer frames or smaller sides"))
    return [means for _, means in sorted(found, key=lambda each: -each[0])]
