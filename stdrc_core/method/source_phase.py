"""The source phase: which source a token comes from, told by turning its RoPE angles.

Frequency d of the L that an attention head has is turned by

    phi_d = source_id * phase_scale * 10000^(-d / L)

as in the public Best-Face-ID adapters, whose reference lies on the video's first frame and would
look like it otherwise. Turns add up: R(phi) R(theta) = R(theta + phi). The video is source 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_THETA = 10000.0


@dataclass(frozen=True, kw_only=True)
class SourcePhase:
    """Of the reference at slot 0; the one at slot k has source_id + k, as BFS numbers them."""

    source_id: float = 2.0
    """2 in the training of the public adapters; 0 turns nothing at slot 0."""
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError for what is not finite."""
        for name, value in (("source_id", self.source_id), ("phase_scale", self.scale)):
            if not math.isfinite(value):
                raise ValueError(f"{name} was {value}; it needs to be a finite number.")

    def at(self, slot: int) -> float:
        """What the angles of the reference at `slot` are turned by at frequency 0, in radians."""
        return (self.source_id + slot) * self.scale


DEFAULT_PHASE = SourcePhase()


def turn(table: Sequence[Any], phases: Sequence[float], tokens_per_phase: int) -> tuple[Any, ...]:
    """A RoPE table whose last tokens, `tokens_per_phase` for each of `phases`, are turned.

    `table` is ComfyUI's or diffusers', of split RoPE: cosines and sines `[..., N, L]`, or rotation
    matrices `[B, N, heads, L, 2, 2]` alone; what follows is no tensor and is kept. `phases` in
    radians are those of frequency 0. Returns a new table and leaves the old one's tensors alone.
    """
    first, *rest = table
    if not isinstance(rest[0], Tensor):
        angles = _angles(phases, tokens_per_phase, first.shape[-3], first)[:, None]
        cos, sin = angles.cos(), angles.sin()
        turned = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)
        start = first.shape[1] - len(angles)
        matrices = turned.to(first.dtype) @ first[:, start:]
        return torch.cat((first[:, :start], matrices), dim=1), *rest
    cos, sin = first, rest[0]
    angles = _angles(phases, tokens_per_phase, cos.shape[-1], cos)
    turn_cos, turn_sin = angles.cos().to(cos.dtype), angles.sin().to(sin.dtype)
    start = cos.shape[-2] - len(angles)
    own_cos, own_sin = cos[..., start:, :], sin[..., start:, :]
    return (
        torch.cat((cos[..., :start, :], own_cos * turn_cos - own_sin * turn_sin), dim=-2),
        torch.cat((sin[..., :start, :], own_sin * turn_cos + own_cos * turn_sin), dim=-2),
        *rest[1:],
    )


def _angles(
    phases: Sequence[float], tokens_per_phase: int, num_frequencies: int, like: Tensor
) -> Tensor:
    """`[tokens, L]` float32 radians."""
    d = torch.arange(num_frequencies, device=like.device, dtype=torch.float32)
    rate = _THETA ** (-d / num_frequencies)
    sources = torch.tensor(phases, device=like.device, dtype=torch.float32)
    return (sources[:, None] * rate).repeat_interleave(tokens_per_phase, dim=0)
