"""Checkpoints by accelerate: trained weights go in and come out under their names in the model."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import SAFE_WEIGHTS_NAME, merge_fsdp_weights
from safetensors.torch import load_file
from torch import Tensor, nn

from ..files import failures_told
from .config import TrainConfig

# Names that accelerate gives to the first object registered for checkpoints, here the average of
# the weights, and to the folder of sharded weights.
_AVERAGE, _SHARDED = "custom_checkpoint_0.pkl", "pytorch_model_fsdp_0"
_MERGED = ".merged_"


def leave_out_wrapper(accelerator: Accelerator) -> None:
    """Makes checkpoints name weights as the model does, not as DDP's wrapper of it does.

    A run can then go on with another number of processes.
    """

    def save(models: list[nn.Module], weights: list[dict[str, Tensor]], _: str) -> None:
        # accelerate leaves `weights` empty where weights are sharded.
        weights[:] = [accelerator.get_state_dict(model) for model in models[: len(weights)]]

    def load(models: list[nn.Module], _: str) -> None:
        models[:] = map(accelerator.unwrap_model, models)

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def read_weights(checkpoint: Path, config: TrainConfig) -> dict[str, Tensor]:
    """The weights of a checkpoint that are to be exported, named as `loop.Result.weights`.

    They are the average where the run keeps one. Sharded weights are put together in a second copy
    on disk, which is removed afterwards, as is one that a killed export left; so only one export of
    a run may work at a time. Raises OSError, in one sentence, where there is no room for the copy.
    """
    if config.optimizer.ema_decay:
        return torch.load(checkpoint / _AVERAGE, map_location="cpu", weights_only=True)
    whole = checkpoint / SAFE_WEIGHTS_NAME
    if whole.is_file():
        return load_file(whole)
    for left in checkpoint.parent.glob(f"{_MERGED}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=checkpoint.parent, prefix=_MERGED) as folder:
        with failures_told(f"the whole weights of {checkpoint}", "make room and export again"):
            merge_fsdp_weights(str(checkpoint / _SHARDED), folder)
        return load_file(Path(folder) / SAFE_WEIGHTS_NAME)
