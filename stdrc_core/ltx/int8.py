"""Frozen weights in 8 bits, by torchao: weights only, with one scale for each row.

A weight is kept as w ~ q s, with integers q in [-128, 127] and s = max |w| / 127.5 over its row.
Activations keep their precision, and gradients reach a layer's input through the rounded weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Int8:
    """Rounds weights to 8 bits."""

    name = "int8"

    def __init__(self, setting: str) -> None:
        """`setting` is what asked for it, such as `model.quantization`.

        Raises ValueError where torchao is not installed or too old.
        """
        try:
            from torchao.quantization import Int8Tensor, PerRow
        except ImportError as error:
            raise ValueError(
                f"{setting} was {self.name}; needs torchao 0.18 or newer: pip install -U torchao, "
                "or take none."
            ) from error
        self._tensor_class, self._granularity = Int8Tensor, PerRow()

    def __call__(self, weight: Tensor) -> Tensor:
        """Returns `weight` `[out, in]` in 8 bits, on its device."""
        return self._tensor_class.from_hp(weight, granularity=self._granularity)

    def holds(self, layer: nn.Module) -> bool:
        """Whether `layer` is linear and its weight is in 8 bits."""
        return isinstance(layer, nn.Linear) and isinstance(layer.weight, self._tensor_class)

    def layers(self, model: nn.Module, device: torch.device) -> None:
        """Moves the weights of all linear layers of `model` to `device`, in 8 bits.

        That is done one by one, so that `device` never holds more than one of them as it was.
        """
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                weight = self(layer.weight.detach().to(device))
                layer.weight = nn.Parameter(weight, requires_grad=False)
