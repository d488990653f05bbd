"""The trained weights in a checkpoint that accelerate wrote, under their names in the model."""

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

# accelerate's names: of the first object registered for checkpoints, and of sharded weights.
_AVERAGE, _SHARDED = "custom_checkpoint_0.pkl", "pytorch_model_fsdp_0"
_MERGED = ".merged_"


def leave_out_wrapper(accelerator: Accelerator) -> None:
    """Lets checkpoints name weights as the model does and not as DDP's wrapper of it: processes
    may then be one or more when a run goes on."""

    def save(models: list[nn.Module], weights: list[dict[str, Tensor]], _: str) -> None:
        # Empty where weights are sharded.
        weights[:] = [accelerator.get_state_dict(model) for model in models[: len(weights)]]

    def load(models: list[nn.Module], _: str) -> None:
        models[:] = map(accelerator.unwrap_model, models)

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def read_weights(checkpoint: Path, config: TrainConfig) -> dict[str, Tensor]:
    """What a checkpoint would be exported as, named as `loop.Result.weights`: the average where
    the run keeps one. Sharded weights are put together, for which they are once more on disk, for
    one export of a run at a time: what a killed one left there is removed. Raises OSError, in one
    sentence, where there is no room for them."""
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
