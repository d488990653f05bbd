"""The source phase, which tells tokens of different sources apart by turning their RoPE angles.

In an attention head with L frequencies, the angle of frequency d is turned by

    phi_d = source_id * phase_scale * 10000^(-d / L)

The public Best-Face-ID adapters were trained so: their reference lies on the video's first frame,
and nothing else tells the two apart. Turns add up: R(phi) R(theta) = R(theta + phi). The video is
source 0 (docs/method.md section 10).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_THETA = 10000.0


@dataclass(frozen=True, kw_only=True)
class SourcePhase:
    """How far the angles of the references are turned; the defaults are the public adapters'."""

    source_id: float = 2.0
    """The source of the reference at slot 0. The one at slot k is source_id + k, as in BFS."""
    scale: float = 1.0
    """The phase_scale of the equation."""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that is not finite."""
        for name, value in (("source_id", self.source_id), ("phase_scale", self.scale)):
            if not math.isfinite(value):
                raise ValueError(f"{name} was {value}; it needs to be a finite number.")

    def at(self, slot: int) -> float:
        """Returns phi_0 of the reference at `slot`, in radians."""
        return (self.source_id + slot) * self.scale


DEFAULT_PHASE = SourcePhase()


def turn(table: Sequence[Any], phases: Sequence[float], tokens_per_phase: int) -> tuple[Any, ...]:
    """Returns a RoPE table in which the angles of the last tokens are turned.

    `table` is a table of split RoPE, ComfyUI's or diffusers': either cosines and sines
    `[..., N, L]`, or rotation matrices `[B, N, heads, L, 2, 2]`; what follows the tensors is
    returned as it is. `phases` holds a phi_0 in radians for each reference, in the order of their
    tokens. A reference has `tokens_per_phase` tokens, and those of all references are the last in
    the table. The tensors of `table` are not changed.
    """
    # Adapters name a source phase, which the command line reads; it should not wait for torch.
    import torch

    first, *rest = table
    if not isinstance(rest[0], torch.Tensor):
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
    """Returns phi_d of each token: `[tokens, L]` float32, in radians."""
    import torch

    d = torch.arange(num_frequencies, device=like.device, dtype=torch.float32)
    rate = _THETA ** (-d / num_frequencies)
    sources = torch.tensor(phases, device=like.device, dtype=torch.float32)
    return (sources[:, None] * rate).repeat_interleave(tokens_per_phase, dim=0)
