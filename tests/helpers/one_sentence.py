"""What every mistake of a user ends in: one clear sentence."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from helpers.comfyui import HostError, Worker


def assert_one_clear_sentence(
    host: Worker, scenario: str, mistake: str, parts: Sequence[str]
) -> None:
    """`scenario`, told to make the `mistake`, ends in a ValueError that says all of `parts`."""
    with pytest.raises(HostError) as raised:
        host(scenario, name=mistake)
    error = raised.value
    assert error.kind == "ValueError", error
    for part in parts:
        assert part in error.message, error.message
    assert error.message.endswith(".")
    assert "\n" not in error.message
