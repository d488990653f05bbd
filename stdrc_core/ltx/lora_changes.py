"""What the layers of a LoRA file do to a weight W: the change D of each kind, and how it is added.

    LoRA              D = alpha / r B A                        W + strength D
    LoHa              D = alpha / r (B_1 A_1) * (B_2 A_2)      (elementwise)
    LoKr              D = alpha / r kron(W_1, W_2)             (1 instead where neither is factored)
    diff              D as it is stored
    set_weight        the new weight as it is stored, whatever the strength
    DoRA              any of the first three, and then each row or column brought to a length m

They are those of ComfyUI's weight adapters, so that a file changes a weight here as it does there.
Everything is computed in float32, some rows at a time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

_EPSILON = torch.finfo(torch.float32).eps


class Change(ABC):
    """The change of one weight `[out, in]`, or of a vector or table of the model."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight that it changes."""

    @abstractmethod
    def rows(self, rows: slice, device: torch.device) -> Tensor:
        """Returns D of these rows, float32 on `device`."""

    def apply(self, own: Tensor, rows: slice, strength: float) -> Tensor:
        """Returns these rows of the changed weight; `own` are the weight's, and may be written."""
        return own.add_(self.rows(rows, own.device), alpha=strength)

    def look_at(self, weight: Tensor, each: list[slice], device: torch.device) -> None:
        """Looks at the whole weight before any row is changed; most kinds need nothing of it.

        `each` are the slices of rows that `apply` will be called with.
        """
        return


@dataclass(frozen=True, eq=False)
class LowRank(Change):
    """LoRA: D = scale B A."""

    up: Tensor
    """B, `[out, r]`."""
    down: Tensor
    """A, `[r, in]`."""
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.up.shape[0], self.down.shape[1]

    def rows(self, rows: slice, device: torch.device) -> Tensor:
        return self.scale * (_in_float32(self.up[rows], device) @ _in_float32(self.down, device))

    def whole(self) -> Tensor:
        """Returns D of all rows, float32 where the halves are."""
        return self.rows(slice(None), self.up.device)

    def apply(self, own: Tensor, rows: slice, strength: float) -> Tensor:
        down = _in_float32(self.down, own.device)
        ups = _in_float32(self.up[rows], own.device)
        return own.addmm_(ups, down, alpha=strength * self.scale)


@dataclass(frozen=True, eq=False)
class Hadamard(Change):
    """LoHa: D is the elementwise product of two low-rank products."""

    first: LowRank
    second: LowRank
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.first.shape

    def rows(self, rows: slice, device: torch.device) -> Tensor:
        return self.scale * self.first.rows(rows, device) * self.second.rows(rows, device)


@dataclass(frozen=True, eq=False)
class Kronecker(Change):
    """LoKr: D = scale kron(W_1, W_2)."""

    first: Tensor
    """W_1, `[a, b]`."""
    second: Tensor
    """W_2, `[out / a, in / b]`."""
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        (a, b), (c, d) = self.first.shape, self.second.shape
        return a * c, b * d

    def rows(self, rows: slice, device: torch.device) -> Tensor:
        first, second = _in_float32(self.first, device), _in_float32(self.second, device)
        index = torch.arange(self.shape[0], device=device)[rows]
        outer = first[index // len(second), :, None] * second[index % len(second), None, :]
        return self.scale * outer.flatten(1)


@dataclass(frozen=True, eq=False)
class Difference(Change):
    """D as the file holds it."""

    whole: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.whole.shape)

    def rows(self, rows: slice, device: torch.device) -> Tensor:
        return _in_float32(self.whole[rows], device)


@dataclass(frozen=True, eq=False)
class NewWeight(Difference):
    """A weight that takes the old one's place, whatever the strength."""

    def apply(self, own: Tensor, rows: slice, strength: float) -> Tensor:
        return self.rows(rows, own.device)


class Decomposed(Change):
    """DoRA: W + D, with each row or each column brought to a length m.

    It is W' = m (W + D) / n. For peft's m, one for each row, n is the length of the row of W + D
    (Liu et al. 2024, Eq. 5). ComfyUI divides rows (`dora_scale` of `[out, 1]`) by their lengths in
    W, and columns (`[1, in]`) by those in W + D; so does this for a `dora_scale`.
    """

    def __init__(self, change: Change, magnitude: Tensor, layer: str, *, is_pefts: bool) -> None:
        """`magnitude` is m. `is_pefts` says that it is peft's `lora_magnitude_vector`.

        Raises ValueError where it has not one number for each row or column of `layer`.
        """
        self._change, self._is_pefts = change, is_pefts
        self._of_rows = is_pefts or len(magnitude) == change.shape[0]
        num = change.shape[0 if self._of_rows else 1]
        if magnitude.numel() != num:
            kind = "lora_magnitude_vector" if is_pefts else "dora_scale"
            raise ValueError(
                f"has a {kind} of shape {list(magnitude.shape)} for {layer}; needs "
                f"{[change.shape[0], 1]} or {[1, change.shape[1]]}: the file is damaged, get it "
                "again."
            )
        self._magnitude = magnitude.flatten()
        self._lengths: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._change.shape

    def rows(self, rows: slice, device: torch.device) -> Tensor:
        return self._change.rows(rows, device)

    def look_at(self, weight: Tensor, each: list[slice], device: torch.device) -> None:
        if self._of_rows:
            return
        squares = torch.zeros(self.shape[1], dtype=torch.float32, device=device)
        for rows in each:
            whole = _in_float32(weight[rows], device) + self.rows(rows, device)
            squares += whole.square().sum(dim=0)
        self._lengths = squares.sqrt()

    def apply(self, own: Tensor, rows: slice, strength: float) -> Tensor:
        magnitude = _in_float32(self._magnitude, own.device)
        whole = own + self.rows(rows, own.device)
        if self._of_rows:
            lengths = (whole if self._is_pefts else own).norm(dim=1, keepdim=True)
            factors = magnitude[rows, None] / (lengths + _EPSILON)
        else:
            factors = magnitude / (self._lengths + _EPSILON)
        return own.lerp_(whole * factors, strength) if strength != 1 else whole * factors


def apply_change(
    weight: Tensor,
    change: Change,
    strength: float,
    device: torch.device,
    *,
    entries_together: int,
) -> None:
    """Changes a weight in place, at most about `entries_together` of its numbers at a time."""
    num_rows = max(1, entries_together // math.prod(weight.shape[1:]))
    each = [slice(i, i + num_rows) for i in range(0, len(weight), num_rows)]
    change.look_at(weight, each, device)
    for rows in each:
        own = weight[rows].to(device, torch.float32, copy=True)
        weight[rows].copy_(change.apply(own, rows, strength))


def _in_float32(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, torch.float32)
