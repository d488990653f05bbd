"""Runs code of ours around each transformer block of one call.

It uses the host's block replacements (`patches_replace`). A replacement gets everything that its
block gets, and it lives in the options of one call of the transformer: nothing is put on the model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

# Takes a block's arguments by their names and returns its outputs by theirs.
Block = Callable[[dict[str, Any]], dict[str, Any]]
Around = Callable[[dict[str, Any], Block], dict[str, Any]]


def around_blocks(
    transformer_options: dict[str, Any], num_blocks: int, around: Around
) -> dict[str, Any]:
    """Returns a copy of the options in which `around(args, block)` runs in each block's place.

    `around` runs the block by calling `block(args)`. Where another replacement is in the options
    already, `block` calls that one, which so gets the arguments that `around` passes on.
    """
    replaced = transformer_options.get("patches_replace", {})
    blocks = replaced.get("dit", {})
    keys = [("double_block", i) for i in range(num_blocks)]
    ours = {key: partial(_replacement, around=around, earlier=blocks.get(key)) for key in keys}
    return {**transformer_options, "patches_replace": {**replaced, "dit": {**blocks, **ours}}}


def _replacement(
    args: dict[str, Any],
    extra: dict[str, Any],
    *,
    around: Around,
    earlier: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]] | None,
) -> dict[str, Any]:
    if earlier is None:
        return around(args, extra["original_block"])
    return around(args, lambda args: earlier(args, extra))
