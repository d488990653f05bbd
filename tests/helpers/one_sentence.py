"""What every mistake of a user ends in: one clear sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

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


def refused(
    capsys: pytest.CaptureFixture[str],
    main: Callable[[list[str]], object],
    words: Iterable[object],
    command: str,
    status: int = 2,
) -> str:
    """The one sentence that a command's `main` ends with, behind the command's name."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == status
    said = capsys.readouterr().err
    assert "Traceback" not in said
    *_, last = said.splitlines()
    prefix = f"{command}: "
    assert last.startswith(prefix), last
    assert last.endswith("."), last
    return last.removeprefix(prefix)


def assert_one_sentence(error: BaseException) -> None:
    """An error's text is one sentence on one line."""
    message = str(error)
    assert message.endswith("."), message
    assert "\n" not in message
