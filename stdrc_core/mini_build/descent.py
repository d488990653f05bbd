"""Trains the miniature's small networks by AdamW, with one cycle of the learning rate."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm


def descend(
    network: nn.Module,
    loss: Callable[[], Tensor],
    *,
    num_steps: int,
    lr: float,
    name: str,
    warm_up: float = 0.3,
) -> None:
    """Trains `network` in place and leaves it in evaluation mode.

    Each call of `loss` returns the loss of a new batch, a scalar. `warm_up` is the share of the
    steps in which the learning rate rises to `lr`. `name` is shown on the progress bar.
    """
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=num_steps, pct_start=warm_up
    )
    average = 0.0
    with tqdm(range(num_steps), name, unit="step") as progress:
        for step in progress:
            value = loss()
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            average += (value.item() - average) * max(0.02, 1 / (step + 1))
            progress.set_postfix(loss=f"{average:.4f}", refresh=False)
    network.eval()
