"""`torchrun run_quantized.py OUT CHECKPOINT CACHE`: a LoRA on an 8-bit base, by DDP on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]


from helpers import mini_run  # noqa: E402
from stdrc_core.train.config import TrainConfig  # noqa: E402


def config(out: Path, checkpoint: Path, cache: Path, **model: object) -> TrainConfig:
    """Thirty steps that overfit three clips."""
    return mini_run.config(
        out,
        checkpoint,
        cache,
        model={"quantization": "int8", "offload": True} | model,
        run={"num_steps": 30, "checkpoint_every": 20, "batch_size": 6, "micro_batch_size": 3},
        objective={"timesteps": "uniform", "lambda_id": 0, "lambda_tic": 0},
        optimizer={"lr": 5e-3},
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    whole = config(*map(Path, sys.argv[1:]))
    short = whole.run.model_copy(update={"num_steps": 3})
    mini_run.train(whole.model_copy(update={"run": short}))
