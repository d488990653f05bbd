"""The prompt nodes in the real host: instructions, gender, answers, the queue, mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.comfyui import Worker
from helpers.comfyui_server import Server
from helpers.one_sentence import assert_one_clear_sentence
from helpers.tiny_face_networks import GenderByRed, export_genderage
from torch import Tensor

from stdrc_core.experiments.scores import draw_cases

pytestmark = pytest.mark.host

PROMPT = "A person in a red coat and boots walks through a snowy park."


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return draw_cases(1, seed=5)[0].photo


def test_without_a_model_the_prompt_is_split_by_rules(host: Worker) -> None:
    spatial, temporal, report = host("prompts.parse", answers={}, prompt=PROMPT, gender="woman")
    assert spatial == "A person in a red coat, in a snowy park, close-up"
    cue = "The expression on her face changes gently as her eyes blink."
    assert temporal == f"{PROMPT} {cue}"
    assert "set by hand" in report.splitlines()[0]
    assert report.count("without a language model") == 2


def test_answers_are_read_held_to_the_rules_and_reported(host: Worker) -> None:
    answers = {
        "spatial_answer": '```json\n{"spatial": ["a woman", "red coat", "boots"]}\n```',
        "temporal_answer": "<think>hm</think>She turns her head and laughs.",
    }
    spatial, temporal, report = host("prompts.parse", answers=answers, gender="woman")
    assert spatial == "a woman, red coat, close-up"
    assert temporal == "She turns her head and laughs."
    assert "repaired (ends with" in report and "unchanged" in report


def test_the_photo_tells_the_gender_where_the_pack_can(
    host: Worker, photo: Tensor, tmp_path: Path
) -> None:
    model = export_genderage(GenderByRed(), tmp_path / "genderage.onnx")
    pack = host("prompts.with_gender_model", model=str(model))
    tints = {"man": (1.0, 0.4, 0.4), "woman": (0.4, 1.0, 1.0)}
    for gender, tint in tints.items():
        tinted = photo * torch.tensor(tint)
        got = host("prompts.decouple", prompt=PROMPT, photo=tinted, face_pack=pack)
        assert (got["gender"], got["source"]) == (
            gender,
            f"Gender: {gender}, read from the photo by with_gender.",
        )
        assert f"is a {gender}" in got["spatial"] and f"is a {gender}" in got["temporal"]
    by_hand = host(
        "prompts.decouple", prompt=PROMPT, photo=photo * 0, face_pack=pack, gender="person"
    )
    assert by_hand["gender"] == "person" and "by hand" in by_hand["source"]


def test_a_pack_without_a_gender_model_leaves_it_to_the_prompt_and_says_so(
    host: Worker, photo: Tensor
) -> None:
    got = host("prompts.decouple", photo=photo)
    assert got["gender"] == "woman"
    assert "prompt's own words (face_pack stdrc_mini has no gender model)" in got["source"]
    got = host("prompts.decouple", photo=photo, prompt=PROMPT)
    assert got["gender"] == "person" and "has no gender model" in got["source"]
    assert "no photo is connected" in host("prompts.decouple", prompt=PROMPT)["source"]


def test_both_nodes_run_by_the_queue(server: Server) -> None:
    """Texts stand for the language model: its output is a STRING as theirs."""
    answers = {"spatial": "A woman, red coat", "temporal": "She waves and smiles."}
    workflow = {
        "decouple": {
            "class_type": "STDRCDecouplePrompt",
            "inputs": {
                "prompt": PROMPT,
                "gender": "woman",
                "face_pack": "stdrc_mini",
                "download": False,
            },
        },
        "parse": {
            "class_type": "STDRCParsePrompts",
            "inputs": {"request": ["decouple", 2]}
            | {f"{name}_answer": [f"model_{name}", 0] for name in answers},
        },
    }
    for i, (name, answer) in enumerate(answers.items()):
        workflow |= {
            f"model_{name}": {"class_type": "PrimitiveString", "inputs": {"value": answer}},
            f"show_{name}": {"class_type": "PreviewAny", "inputs": {"source": ["parse", i]}},
            f"ask_{name}": {"class_type": "PreviewAny", "inputs": {"source": ["decouple", i]}},
        }
    server.forget()
    history, _ = server.complete(workflow)
    shown = {name: output["text"][0] for name, output in history["outputs"].items()}
    assert shown["show_spatial"] == "A woman, red coat, close-up"
    assert shown["show_temporal"] == "She waves and smiles."
    assert PROMPT in shown["ask_spatial"] and PROMPT in shown["ask_temporal"]


MESSAGES = {
    "empty prompt": ["prompt has no words", "write one sentence"],
    "over-long prompt": ["prompt has 600 words", "needs 500 or fewer", "shorten"],
    "no face": ["photo", "60 x 50", "no face", "stdrc_mini"],
    "two persons": ["photo shows 2 persons", "needs one", "Prepare Reference Photo"],
    "several photos": ["photo", "2 pictures", "one photo"],
    "no pack": ["face_pack", "buffalo_l", "tick download"],
    "no answer": ["spatial_answer is empty", "max_length", "disconnect"],
    "thoughts alone": ["temporal_answer", "thoughts alone", "thinking off"],
    "refusal": ["spatial_answer is a refusal", "another seed"],
}


@pytest.mark.parametrize("mistake", MESSAGES)
def test_one_clear_sentence(host: Worker, mistake: str) -> None:
    assert_one_clear_sentence(host, "prompts.make", mistake, MESSAGES[mistake])


def test_every_mistake_is_checked(host: Worker) -> None:
    assert sorted(host("prompts.mistakes")) == sorted(MESSAGES)
