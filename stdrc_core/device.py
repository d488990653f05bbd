"""Opens the device that a command computes on."""

from __future__ import annotations

import torch


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
