"""Timesteps of latent frames: what a frame's tokens are scaled, shifted and gated by is kept once.

A clean reference has another timestep than the video, so that tokens differ in their modulation,
but those of one latent frame never do. diffusers takes a timestep for each token and would keep
nine numbers of the model's width for each of them, in every block. Here a hook on its time
embedding hands its blocks a `PerFrame` in place of a tensor. The blocks only add it to their tables
and combine it with their tokens, and that is all a `PerFrame` can do. Numbers are bit for bit those
of the same modulation repeated for each token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class PerFrame:
    """Values `[B, F, ...]` of F latent frames, which stand for those of their tokens.

    Added to or multiplied with tokens `[B, F * tokens_per_frame, D]`, values `[B, F, D]` count for
    each token of their frame. With anything else they behave as the tensor that they are.
    """

    def __init__(self, values: Tensor, tokens_per_frame: int) -> None:
        self.values, self.tokens_per_frame = values, tokens_per_frame

    @property
    def shape(self) -> torch.Size:
        """The shape of the values, in which tokens do not occur."""
        return self.values.shape

    @property
    def device(self) -> torch.device:
        return self.values.device

    def size(self, dim: int) -> int:
        return self.values.size(dim)

    def view(self, *shape: int) -> PerFrame:
        return self._with(self.values.view(*shape))

    def reshape(self, *shape: int) -> PerFrame:
        return self._with(self.values.reshape(*shape))

    def unbind(self, dim: int) -> tuple[PerFrame, ...]:
        return tuple(self._with(each) for each in self.values.unbind(dim))

    def __getitem__(self, index: Any) -> PerFrame:
        return self._with(self.values[index])

    def __radd__(self, other: Tensor | float) -> Tensor | PerFrame:
        return self._combined(torch.add, other)

    def __rmul__(self, other: Tensor | float) -> Tensor | PerFrame:
        return self._combined(torch.mul, other)

    def _with(self, values: Tensor) -> PerFrame:
        return PerFrame(values, self.tokens_per_frame)

    def _combined(
        self, operation: Callable[[Tensor, Tensor], Tensor], other: Tensor | float
    ) -> Tensor | PerFrame:
        """`operation` on tokens `[B, N, D]`, or on a table or number, which gives a `PerFrame`."""
        if not isinstance(other, Tensor) or other.ndim != 3:
            return self._with(operation(self.values, other))
        frames = other.unflatten(1, (-1, self.tokens_per_frame))
        return operation(frames, self.values[:, :, None]).flatten(1, 2)


@contextmanager
def modulated_by_frame(transformer: nn.Module, tokens_per_frame: int) -> Iterator[None]:
    """While it is open, `transformer` takes a timestep for each latent frame, `[B, F]`.

    It is an `LTX2VideoTransformer3DModel`, whose `hidden_states` must be `tokens_per_frame` tokens
    of each frame in turn.
    """
    hook = transformer.time_embed.register_forward_hook(
        lambda _module, _inputs, outputs: tuple(
            PerFrame(each, tokens_per_frame) for each in outputs
        )
    )
    try:
        yield
    finally:
        hook.remove()
