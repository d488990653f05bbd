"""How the miniature's small networks learn: AdamW and one cycle of the learning rate."""

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
    """Moves `network` down `loss`, a new batch's at each call; leaves it in evaluation mode.

    `warm_up` is the share of the steps in which the learning rate rises to `lr`.
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
