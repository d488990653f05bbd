"""The staged miniature workflow by the queue: a first frame is kept, then it is animated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.clips import decode
from helpers.comfyui_server import Server
from helpers.drawn_persons import read_picture
from helpers.shipped_workflows import api_workflow, titled

pytestmark = pytest.mark.host

NUM_CANDIDATES = 4


@pytest.fixture
def prompt() -> dict[str, Any]:
    return api_workflow("stdrc_mini_staged")


def saved(history: dict[str, Any], server: Server, node: str) -> Path:
    (file,) = history["outputs"][node]["images"]
    return server.base / "output" / file["subfolder"] / file["filename"]


def test_the_clip_begins_with_the_frame_that_was_kept(
    server: Server, prompt: dict[str, Any]
) -> None:
    server.forget()
    history, messages = server.complete(prompt)
    first = read_picture(saved(history, server, titled(prompt, "The first frame")))
    clip = decode(saved(history, server, titled(prompt, "Save Video")))
    assert clip.shape == (17, *first.shape) == (17, 128, 128, 3)
    apart = np.abs(clip.astype(float) - first).mean(axis=(1, 2, 3))
    assert apart.argmin() == 0
    assert apart[0] < 0.1 * 255
    assert apart[-1] > 1.2 * apart[0]

    progress = [m["data"] for m in messages if m["type"] == "progress"]
    for title, num_runs in (("Sample each seed", NUM_CANDIDATES), ("Sample the clip", 1)):
        steps = [each for each in progress if each["node"] == titled(prompt, title)]
        assert sum(each["value"] == each["max"] for each in steps) == num_runs, title


def test_an_interrupt_in_the_second_stage_leaves_the_first_frame(
    server: Server, prompt: dict[str, Any]
) -> None:
    server.forget()
    second = titled(prompt, "Sample the clip")

    def stop_there(message: dict[str, Any]) -> None:
        if message["type"] == "progress" and message["data"]["node"] == second:
            server.interrupt()

    history, messages = server.run(prompt, stop_there)
    assert any(message["type"] == "execution_interrupted" for message in messages)
    assert saved(history, server, titled(prompt, "The first frame")).is_file()
    assert titled(prompt, "Save Video") not in history["outputs"]
