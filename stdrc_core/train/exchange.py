"""Other weights in the model for a while, as validation wants the average and not the latest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .trainable import trained_parameters


@contextmanager
def exchanged(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """`model` with `weights`, by name, in place of what is trained; `weights` hold that meanwhile.

    Both get their own back bit for bit, whatever happens inside. Tensor after tensor changes
    places, so that there is no second copy of the model; sharded ones (FSDP2) shard by shard.
    """
    _exchange(model, weights)
    try:
        yield
    finally:
        _exchange(model, weights)


@torch.no_grad()
def _exchange(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    for name, parameter in trained_parameters(model):
        if name in weights:
            own = parameter.clone()
            parameter.copy_(weights[name])
            weights[name].copy_(own)
