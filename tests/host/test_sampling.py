"""The core's own sampling against ComfyUI's scheduler."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.comfyui import Worker

from stdrc_core.method.sampling import sigma_schedule

pytestmark = pytest.mark.host


@pytest.mark.parametrize("num_steps", [2, 8, 30])
@pytest.mark.parametrize("grid", [[3, 8, 8], [16, 24, 40]])
@pytest.mark.parametrize("terminal", [0.1, 0.3, None])
def test_sigmas_are_those_of_the_hosts_scheduler(
    host: Worker, num_steps: int, grid: list[int], terminal: float | None
) -> None:
    theirs = host(
        "schedule.sigmas",
        num_steps=num_steps,
        grid=grid,
        terminal=terminal or 0.1,
        stretch=terminal is not None,
    )
    ours = sigma_schedule(num_steps, math.prod(grid), terminal=terminal)
    # The host stretches in float32, where 1 - sigma has few digits left at high resolutions.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
