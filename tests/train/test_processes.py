"""Several processes: what one may work on for long, and what ends a run early."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import PROJECT, commands

SCRIPT = PROJECT / "tests" / "helpers" / "run_long_wait.py"


@pytest.mark.parametrize(
    ("what", "status"),
    [("validation", 0), ("checkpoint", 0), ("loading", 0), ("step", 1)],
)
def test_a_step_does_not_wait_as_long_as_the_rest(tmp_path: Path, what: str, status: int):
    """A step's collectives have 5 s of patience here, and the main process takes 11 over `what`."""
    commands.run(SCRIPT, tmp_path, what, num_processes=2, status=status)
    assert (tmp_path / "done.txt").exists() is (status == 0)
