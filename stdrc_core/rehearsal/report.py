"""Tells what a rehearsal found: a table in words, and whether it fits a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .memory_record import Peak

GIB = 2**30
# What CUDA, its libraries and the gaps between tensors take beside them: 1 to 2 GiB by experience,
# of which the larger counts.
BESIDE_BYTES = 2 * GIB


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a peak fits a GPU, and what to change where it does not."""

    fits: bool
    sentence: str


def judge(peak_bytes: int, vram_gib: float, remedies: Sequence[str]) -> Verdict:
    """Compares a peak with a GPU of `vram_gib`; `remedies` are what to change, best first."""
    needed = peak_bytes + BESIDE_BYTES
    about = f"{needed / GIB:.1f} GiB, of which 2 are for CUDA and gaps between tensors"
    if needed <= vram_gib * GIB:
        return Verdict(fits=True, sentence=f"fits a GPU of {vram_gib:g} GiB: it needs {about}.")
    change = "; ".join(remedies) or "take a larger GPU"
    return Verdict(
        fits=False,
        sentence=f"does not fit a GPU of {vram_gib:g} GiB: it needs {about}. "
        f"Change this: {change}.",
    )


def memory_rows(
    peak: Peak, *, weights: str = "weights", frozen: str = "VAE and face model"
) -> list[tuple[str, str]]:
    """The rows of a table for a peak and its kinds; kinds that take nothing are left out.

    `weights` and `frozen` are what the rows of these two are called.
    """
    kinds = (
        (weights, peak.weights),
        (frozen, peak.frozen),
        ("gradients", peak.gradients),
        ("optimizer", peak.optimizer),
        ("activations", peak.activations),
    )
    rows = [(f"  {name}", gib(size)) for name, size in kinds if size]
    return [("peak of a GPU", gib(peak.total)), *rows]


def gib(size: float) -> str:
    """A number of bytes in GiB, or in MiB where it is small."""
    return f"{size / GIB:.2f} GiB" if size >= GIB / 100 else f"{size / 2**20:.2f} MiB"


def as_table(rows: Sequence[tuple[str, str]]) -> str:
    """Rows of a name and a value, one a line, the values in one column."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
