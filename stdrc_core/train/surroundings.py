"""What a run needs of the machine around it, asked before it starts: disk, and time to stop in."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.distributed.launcher.api import LaunchConfig

from ..folders import files_below
from ..ltx.backbone import empty_backbone
from ..ltx.checkpoint_files import Checkpoint, open_checkpoint
from ..ltx.published import file_bytes
from .checkpoints import CheckpointFolder
from .config import TrainConfig
from .trainable import make_trainable, trained_parameters

log = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
_DEFAULT_SHUTDOWN_S = 30
# What is reckoned with where a run is stopped: a step that has just begun, and a slow disk.
_STEP_S, _WRITTEN_BYTES_PER_S = 60, 250_000_000
# Bytes of a number of an exported LoRA, of a trained one, and of its two moments. Beside 8-bit
# moments bitsandbytes keeps a float for each 256 of them.
_LORA_BYTES = 2
_WEIGHT_BYTES, _MOMENTS_BYTES = 4, {"adamw": 8, "adamw_8bit": 2 + 2 * 4 / 256}


@dataclass(frozen=True, kw_only=True)
class DiskNeed:
    """What a run takes of its disk, in bytes."""

    checkpoint_bytes: int
    """A checkpoint: what is trained, its moments and, where there is one, its average."""
    num_checkpoints: int
    """How many there are at most at a time."""
    weights_bytes: int
    """The weights for ComfyUI at the end."""

    @property
    def total_bytes(self) -> int:
        return self.num_checkpoints * self.checkpoint_bytes + self.weights_bytes


def disk_need(config: TrainConfig) -> DiskNeed:
    """Reckons it from the header of the run's weights, or from their sizes alone in a rehearsal.

    Raises ValueError for weights that cannot be read.
    """
    run, validation = config.run, config.validation
    backbone = empty_backbone(config.model.checkpoint)
    with torch.device("meta"):
        make_trainable(backbone, config.trainable, run.seed)
    num_trained = sum(parameter.numel() for _, parameter in trained_parameters(backbone))
    average = _WEIGHT_BYTES if config.optimizer.ema_decay else 0
    per_number = _WEIGHT_BYTES + _MOMENTS_BYTES[config.optimizer.name] + average
    num_due = run.num_steps // run.checkpoint_every + 1
    if validation.every:
        num_due += run.num_steps // validation.every
    # A full fine-tune's file is completed by the rest of the base's.
    is_lora = config.trainable.method == "lora"
    weights = num_trained * _LORA_BYTES if is_lora else _base_bytes(config.model.checkpoint)
    return DiskNeed(
        checkpoint_bytes=round(num_trained * per_number),
        # A checkpoint is whole before an older one is removed.
        num_checkpoints=min(num_due, run.keep_checkpoints + 1 + _keeps_best(config)),
        weights_bytes=weights,
    )


def require_disk_space(config: TrainConfig, need: DiskNeed) -> str:
    """Says in one sentence what the run will take of its disk and what there is.

    Raises ValueError where the disk of `run.out` has less. Checkpoints that are there already count
    as room, since they are replaced.
    """
    out, keep = config.run.out, config.run.keep_checkpoints
    free = shutil.disk_usage(_existing(out)).free + _size_of(CheckpointFolder.of(config.run).path)
    kinds = ["the newest" if keep == 1 else f"the {keep} newest"]
    kinds += ["the best"] if _keeps_best(config) else []
    sentence = (
        f"run.out {out} needs {_told(need.total_bytes)} of disk: {need.num_checkpoints} "
        f"checkpoints of {_told(need.checkpoint_bytes)} at most ({', '.join(kinds)} and the one "
        f"being written) and {_told(need.weights_bytes)} of weights at the end; {_told(free)} are "
        "free"
    )
    if free < need.total_bytes:
        raise ValueError(
            f"{sentence}: make room, lower run.keep_checkpoints, or take a run.out on another disk."
        )
    return f"{sentence}."


def warn_of_short_shutdown(num_bytes: int) -> None:
    """Warns where a launcher would kill a run that it stops before a checkpoint is written.

    torchrun and `accelerate launch` send SIGTERM on, and SIGKILL after a time that is 30 seconds
    unless the environment says otherwise. `num_bytes` is the size of a checkpoint.
    """
    if not torch.distributed.is_torchelastic_launched():
        return
    needed = round(_STEP_S + num_bytes / _WRITTEN_BYTES_PER_S)
    knows = "shutdown_timeout" in LaunchConfig.__dataclass_fields__
    given = _DEFAULT_SHUTDOWN_S
    if knows:
        given = int(os.environ.get(SHUTDOWN_TIMEOUT, given))
    if given >= needed:
        return
    remedy = f"set {SHUTDOWN_TIMEOUT}={needed} in the environment of the launcher"
    if not knows:
        remedy = (
            f"send SIGTERM to one of the run's own processes, or install a torch that has "
            f"{SHUTDOWN_TIMEOUT} (2.13 has)"
        )
    log.warning(
        "the launcher kills a run %d s after it was told to stop, and a step and a checkpoint of "
        "%s may take %d s: %s, or a stopped run goes on from an older checkpoint.",
        given,
        _told(num_bytes),
        needed,
        remedy,
    )


def _keeps_best(config: TrainConfig) -> bool:
    """Whether the run keeps its best checkpoint by FaceSim."""
    return config.validation.every > 0 and config.objective.face_pack is not None


def _existing(path: Path) -> Path:
    """The nearest folder of a path that exists."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.is_dir())


def _base_bytes(base: Path | Checkpoint) -> int:
    """The bytes of the base's file or folder, or of its tensors where only its sizes are known."""
    path = base.path if isinstance(base, Checkpoint) else base
    return _size_of(path) or file_bytes(open_checkpoint(base))


def _size_of(path: Path) -> int:
    """The bytes of a file, or of all files in a folder; 0 where there is neither."""
    paths = files_below(path) if path.is_dir() else [path]
    return sum(each.stat().st_size for each in paths if each.is_file())


def _told(num_bytes: float) -> str:
    """A size in words, decimal as disks are sold."""
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if num_bytes >= size:
            return f"{num_bytes / size:.3g} {unit}"
    return f"{num_bytes / 1e6:.3g} MB"
