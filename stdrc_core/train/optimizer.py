"""AdamW on what is trained, its learning rate over the run, and both as a checkpoint has them."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from .config import TrainConfig
from .trainable import trained_parameters


def lr_factor(config: TrainConfig, step: int) -> float:
    """What the learning rate is multiplied by in `step`, counted from 0; in [0, 1].

    It rises over the warm-up, stays at 1, and falls so that it would be 0 one step after the last.
    """
    options = config.optimizer
    risen = (step + 1) / max(1, options.num_warmup_steps)
    left = (config.run.num_steps - step) / max(1, options.num_decay_steps)
    return max(0.0, min(1.0, risen, left))


def make_optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW on the trained parameters of `model`, or bitsandbytes' form of it with 8-bit moments.

    Raises ValueError where bitsandbytes is asked for and not installed.
    """
    options = config.optimizer
    parameters = [p for _, p in trained_parameters(model)]
    settings = {
        "lr": options.lr,
        "betas": (options.beta1, options.beta2),
        "weight_decay": options.weight_decay,
    }
    if options.name == "adamw":
        # On a CPU torch would by itself choose a loop over the parameters.
        return torch.optim.AdamW(parameters, fused=True, **settings)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise ValueError(
            "optimizer.name was adamw_8bit; needs bitsandbytes: pip install bitsandbytes, or take "
            "adamw."
        ) from error
    return AdamW8bit(parameters, **settings)


def load_state(
    accelerator: Accelerator,
    checkpoint: Path,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
) -> None:
    """Loads all that a checkpoint holds, but for the learning rate and the weight decay.

    These two are as the run is configured now, since they may change when it goes on.
    """
    own = [(group["initial_lr"], group["weight_decay"]) for group in optimizer.param_groups]
    accelerator.load_state(str(checkpoint))
    schedule.base_lrs = [lr for lr, _ in own]
    factor = schedule.lr_lambdas[0](schedule.last_epoch)
    for group, (lr, decay) in zip(optimizer.param_groups, own, strict=True):
        group |= {"initial_lr": lr, "lr": lr * factor, "weight_decay": decay}
