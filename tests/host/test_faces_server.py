"""The three face nodes in one workflow, by the queue and on the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from comfyui_server import Server
from host.face_workflow import workflow
from PIL import Image

pytestmark = pytest.mark.host


def image_of(server: Server, file: dict[str, str]) -> np.ndarray:
    folder = server.base / file["type"] / file["subfolder"]
    return np.array(Image.open(folder / file["filename"]).convert("RGB"))


def test_the_clip_of_the_person_is_kept(server: Server) -> None:
    server.forget()
    # The last one's clip is of the first one's person, and longer.
    history, messages = server.run(workflow(3, 4, 3))
    assert history["status"]["status_str"] == "success", history["status"]
    outputs = history["outputs"]
    reports = [json.loads(text) for text in outputs["show_report"]["text"]]
    assert [report["num_frames"] for report in reports] == [3, 4, 5]
    similarities = [report["similarity"] for report in reports]
    assert similarities[0] == similarities[2] > 0.5 > similarities[1]
    assert outputs["show_index"]["text"] == ["0"]
    (ranking,) = outputs["show_ranking"]["text"]
    assert [each["index"] for each in json.loads(ranking)] == [0, 2, 1]
    assert len(outputs["saved"]["images"]) == 3
    (advice,) = outputs["show_advice"]["text"]
    assert "The face is small" in advice
    # A plot for each clip, shown on the node.
    plots = [image_of(server, file) for file in outputs["similarity"]["images"]]
    assert [plot.shape for plot in plots] == [(480, 960, 3)] * 3
    assert not np.array_equal(plots[0], plots[1])
    progress = [m["data"] for m in messages if m["type"] == "progress"]
    assert any(each["node"] == "similarity" for each in progress)


def test_a_missing_pack_ends_the_job_with_its_sentence(server: Server) -> None:
    changed = workflow(3)
    changed["similarity"]["inputs"]["face_pack"] = "buffalo_l"
    _, messages = server.run(changed)
    (error,) = [m["data"] for m in messages if m["type"] == "execution_error"]
    assert error["node_type"] == "STDRCArcFaceSimilarity"
    assert error["exception_type"] == "ValueError"
    for part in ("buffalo_l", "tick download", "non-commercial"):
        assert part in error["exception_message"]


def test_freeing_models_closes_the_sessions_and_the_next_job_opens_them(server: Server) -> None:
    for _ in range(2):
        server.forget()
        history, _ = server.run(workflow(5))
        assert history["status"]["status_str"] == "success", history["status"]
    # Each time the detector and the recogniser.
    log = Path(server.base / "server.log").read_text(errors="replace")
    assert log.count("Requested to load InsightFacePack") >= 2
