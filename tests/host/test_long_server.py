"""The workflow of long clips by the queue: core's windows over time, and the drift."""

from __future__ import annotations

import pytest
from helpers.clips import decode
from helpers.comfyui_server import Server
from helpers.shipped_workflows import api_workflow, titled

pytestmark = pytest.mark.host


def test_a_clip_longer_than_the_window_goes_through_the_queue(server: Server) -> None:
    """33 frames in three windows of 17, in few steps."""
    workflow = api_workflow("stdrc_mini_long")
    workflow[titled(workflow, "Size and length")]["inputs"]["length"] = 33
    workflow[titled(workflow, "LTXVScheduler")]["inputs"]["steps"] = 4
    assert workflow[titled(workflow, "Context Windows (Manual)")]["inputs"]["context_length"] == 3
    server.forget()
    history, _ = server.complete(workflow)
    (file,) = history["outputs"][titled(workflow, "Save Video")]["images"]
    clip = decode(server.base / "output" / file["subfolder"] / file["filename"])
    assert clip.shape == (33, 128, 128, 3)
    assert clip.std() > 5
    (plot,) = history["outputs"][titled(workflow, "ArcFace Similarity")]["images"]
    assert plot["type"] == "temp"
