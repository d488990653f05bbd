"""Turns the reference's RoPE angles, by the host's own replacement of transformer blocks.

A block replacement ("patches_replace") gets everything that its block gets, the RoPE table too, and
lives in the options of one call of the transformer: nothing is put on the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ...stdrc_core.method.source_phase import turn

# The video's own table among a block's arguments, in LTX-2 and in LTX-Video.
_TABLE_ARGUMENTS = ("v_pe", "pe")
Replacement = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]


def with_turned_angles(
    transformer_options: dict[str, Any],
    *,
    num_blocks: int,
    phases: Sequence[float],
    tokens_per_phase: int,
) -> dict[str, Any]:
    """Options for one call, in which the last tokens' angles are turned in every block.

    `phases` in radians, one for each reference of `tokens_per_phase` tokens. Replacements that are
    there already are called as before, and see the turned table.
    """
    replaced = transformer_options.get("patches_replace", {})
    blocks = replaced.get("dit", {})
    table = _TurnedTable(phases, tokens_per_phase)
    turned = {
        ("double_block", i): partial(_call, table=table, inner=blocks.get(("double_block", i)))
        for i in range(num_blocks)
    }
    return {**transformer_options, "patches_replace": {**replaced, "dit": {**blocks, **turned}}}


class _TurnedTable:
    """The table of one call, turned once for all of its blocks."""

    def __init__(self, phases: Sequence[float], tokens_per_phase: int) -> None:
        self._phases, self._tokens_per_phase = phases, tokens_per_phase
        self._known: tuple[Any, Any] | None = None

    def of(self, table: Any) -> Any:
        if self._known is None or self._known[0] is not table:
            self._known = table, turn(table, self._phases, self._tokens_per_phase)
        return self._known[1]


def _call(
    args: dict[str, Any], extra: dict[str, Any], *, table: _TurnedTable, inner: Replacement | None
) -> dict[str, Any]:
    name = next(name for name in _TABLE_ARGUMENTS if name in args)
    args = {**args, name: table.of(args[name])}
    return extra["original_block"](args) if inner is None else inner(args, extra)
