"""The three face nodes in one workflow, by the queue and on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comfyui import PROJECT
from comfyui_server import Server
from host.face_workflow import workflow
from PIL import Image

from stdrc_core.faces.finder import open_face_pack
from stdrc_core.faces.similarity import clip_facesim, largest_embeddings
from stdrc_core.mini.shipped import FACES

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


def test_the_seeds_workflow_keeps_the_clip_that_is_the_person_most(server: Server) -> None:
    many, one = (
        json.loads((PROJECT / "workflows" / "api" / f"{name}.json").read_text())
        for name in ("stdrc_mini_similarity", "stdrc_mini")
    )
    (best,) = (key for key, node in many.items() if node["class_type"] == "STDRCKeepBestIdentity")
    many["kept"] = save_images([best, 0])
    for name, output in (("index", 1), ("ranking", 2)):
        many[name] = {"class_type": "PreviewAny", "inputs": {"source": [best, output]}}
    history, _ = server.run(many)
    assert history["status"]["status_str"] == "success", history["status"]
    outputs = history["outputs"]
    kept = np.stack([image_of(server, file) for file in outputs["kept"]["images"]])
    ranking = json.loads(outputs["ranking"]["text"][0])
    index = int(outputs["index"]["text"][0])
    scores = [each["similarity"] for each in ranking]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4
    assert ranking[0]["index"] == index

    # That seed's clip by the workflow that makes one, scored by core.
    nodes = {node["class_type"]: (key, node["inputs"]) for key, node in one.items()}
    nodes["STDRCThreeStreamSampler"][1]["noise_seed"] = 41 + index
    one["clip"] = save_images([nodes["VAEDecode"][0], 0])
    one["photo"] = save_images([nodes["STDRCMiniCharacter"][0], 0])
    outputs = server.run(one)[0]["outputs"]
    clip, photo = (
        np.stack([image_of(server, file) for file in outputs[name]["images"]])
        for name in ("clip", "photo")
    )
    assert np.array_equal(clip, kept)
    faces = open_face_pack(FACES)
    (e_ref,) = largest_embeddings(torch.from_numpy(photo), faces)
    # PNG files hold 8 bits a channel.
    assert abs(clip_facesim(torch.from_numpy(clip), e_ref, faces) - scores[0]) < 0.01


def save_images(source: list[Any]) -> dict[str, Any]:
    return {"class_type": "SaveImage", "inputs": {"images": source, "filename_prefix": "saved"}}


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
