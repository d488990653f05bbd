"""Weights that wait in host memory, for models of fake tensors.

diffusers' group offloading exchanges the data of tensors, which fake ones do not follow: the device
of a fake tensor is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .memory_record import HOST


def park(module: nn.Module, device: torch.device) -> None:
    """Parks a frozen module; each of its layers is on `device` while it computes."""
    for layer in module.modules():
        if [*layer.named_parameters(recurse=False)]:
            parked = _to_host(layer)
            layer.register_forward_pre_hook(lambda each, args: _bring(each, device, args))
            layer.register_forward_hook(lambda *_, parked=parked: _restore(parked))


def park_blocks(blocks: Sequence[nn.Module], device: torch.device) -> None:
    """Parks frozen blocks that run one after another.

    While one of them computes, it and the next one are on `device`.
    """
    parked = [_to_host(block) for block in blocks]
    for i, block in enumerate(blocks):
        following = blocks[i : i + 2]

        def bring(
            _: nn.Module, args: tuple[Any, ...], following: Sequence[nn.Module] = following
        ) -> None:
            for each in following:
                _bring(each, device, args)

        block.register_forward_pre_hook(bring)
        block.register_forward_hook(lambda *_, own=parked[i]: _restore(own))


def _to_host(module: nn.Module) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """Moves the parameters to the host, and returns each with its place."""
    parked = []
    for part in module.modules():
        for name, parameter in [*part.named_parameters(recurse=False)]:
            waiting = nn.Parameter(parameter.data.to(HOST), requires_grad=False)
            setattr(part, name, waiting)
            parked.append((part, name, waiting))
    return parked


def _bring(module: nn.Module, device: torch.device, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Puts the parameters on the device, if they are not there, and returns `args` there too."""
    for part in module.modules():
        for name, parameter in [*part.named_parameters(recurse=False)]:
            if parameter.device != device:
                there = nn.Parameter(parameter.data.to(device), requires_grad=False)
                setattr(part, name, there)
    return tuple(each.to(device) if isinstance(each, Tensor) else each for each in args)


def _restore(parked: list[tuple[nn.Module, str, nn.Parameter]]) -> None:
    for part, name, parameter in parked:
        setattr(part, name, parameter)
