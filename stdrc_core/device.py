"""Opens the device that a command computes on, and moves models there."""

from __future__ import annotations

import torch
from torch import nn


def open_device(name: str) -> torch.device:
    """Returns the device of this name. Raises ValueError where it cannot be used."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"device was {name!r}, which cannot be used ({reason}); needs cpu, or cuda where there "
            "is a GPU."
        ) from error
    return device


def move(module: nn.Module, device: torch.device) -> None:
    """Moves what of `module` is not on `device` yet, in place.

    `Module.to` would replace every parameter, also those that are there, which torch's fake tensors
    do not allow.
    """
    for part in module.modules():
        for name, parameter in [*part.named_parameters(recurse=False)]:
            if not _is_on(parameter, device):
                moved = nn.Parameter(parameter.data.to(device), parameter.requires_grad)
                setattr(part, name, moved)
        for name, buffer in [*part.named_buffers(recurse=False)]:
            if not _is_on(buffer, device):
                setattr(part, name, buffer.to(device))


def _is_on(tensor: torch.Tensor, device: torch.device) -> bool:
    """Whether the tensor is on the device; a device without a number stands for any of its kind."""
    if device.index is None and device.type != "cpu":
        return tensor.device.type == device.type
    return tensor.device == device
