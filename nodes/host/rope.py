"""Turns the RoPE angles of the references' tokens (docs/method.md section 10), in one call of the
transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy.ldm.lightricks.model import LTXBaseModel, LTXRopeType

from ...stdrc_core.ltx.reference_layout import ReferenceLayout
from ...stdrc_core.method.source_phase import turn
from .block_replacement import Block, around_blocks

# A block's argument with the video's own RoPE table is named so in LTX-2 and in LTX-Video.
_TABLE_ARGUMENTS = ("v_pe", "pe")


def check_rope(transformer: LTXBaseModel, layout: ReferenceLayout) -> None:
    """Raises ValueError if `layout` turns angles and this model's RoPE is not split."""
    if (
        layout.placement.turns_angles
        and transformer.split_positional_embedding != LTXRopeType.SPLIT
    ):
        raise ValueError(
            f"placement is {layout.placement}, which turns RoPE angles, and the model has "
            "interleaved RoPE; needs an LTX-2 model, whose RoPE is split, or placement tass or "
            "overlap."
        )


def with_turned_angles(
    transformer_options: dict[str, Any],
    *,
    num_blocks: int,
    phases: Sequence[float],
    tokens_per_phase: int,
) -> dict[str, Any]:
    """Returns the options of one call in which the last tokens' angles are turned in every block.

    `phases` are in radians, one for each reference; each reference has `tokens_per_phase` tokens.
    """
    table = _TurnedTable(phases, tokens_per_phase)

    def turned(args: dict[str, Any], block: Block) -> dict[str, Any]:
        name = next(name for name in _TABLE_ARGUMENTS if name in args)
        return block({**args, name: table.of(args[name])})

    return around_blocks(transformer_options, num_blocks, turned)


class _TurnedTable:
    """The RoPE table of one call. All blocks get the same table, so it is turned once."""

    def __init__(self, phases: Sequence[float], tokens_per_phase: int) -> None:
        self._phases, self._tokens_per_phase = phases, tokens_per_phase
        self._known: tuple[Any, Any] | None = None

    def of(self, table: Any) -> Any:
        """Returns `table` with the references' angles turned."""
        if self._known is None or self._known[0] is not table:
            self._known = table, turn(table, self._phases, self._tokens_per_phase)
        return self._known[1]
