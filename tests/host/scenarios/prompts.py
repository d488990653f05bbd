"""The prompt nodes in the host."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import folder_paths
import torch
from scenarios import world

DECOUPLE = "STDRCDecouplePrompt"
PARSE = "STDRCParsePrompts"
MINIATURE = "stdrc_mini"
PROMPT = "A woman in a red coat walks through a snowy park, smiling softly."


def decouple(**inputs: Any) -> dict[str, Any]:
    """The instructions, the gender (None for both) and where it came from."""
    made = {"face_pack": MINIATURE, "prompt": PROMPT} | inputs
    spatial, temporal, request = world.node(DECOUPLE, **made)
    subject = request.subject
    gender = None if subject.gender is None else str(subject.gender)
    return {"spatial": spatial, "temporal": temporal, "gender": gender, "source": subject.source}


def parse(answers: dict[str, str], **inputs: Any) -> list[str]:
    """Both prompts and the report."""
    request = world.node(DECOUPLE, **{"face_pack": MINIATURE, "prompt": PROMPT} | inputs)[2]
    return list(world.node(PARSE, request=request, **answers))


def with_gender_model(model: str) -> str:
    """The miniature's pack with a gender model beside it, under a name of its own."""
    target = Path(folder_paths.models_dir) / "insightface" / "models" / "with_gender"
    target.mkdir(parents=True, exist_ok=True)
    for file in (*world.pack("stdrc_core.mini.shipped").FACES.glob("*.onnx"), Path(model)):
        shutil.copy(file, target)
    return target.name


def _two_persons() -> dict[str, Any]:
    return {"photo": torch.cat((world.character(3), world.character(4)), dim=2)}


MISTAKES: dict[str, Callable[[], object]] = {
    "empty prompt": lambda: decouple(prompt=" \n"),
    "over-long prompt": lambda: decouple(prompt="snow " * 600),
    "no face": lambda: decouple(photo=torch.full((1, 50, 60, 3), 0.5)),
    "two persons": lambda: decouple(**_two_persons()),
    "several photos": lambda: decouple(photo=torch.rand(2, 50, 60, 3)),
    "no pack": lambda: decouple(photo=world.character(3), face_pack="buffalo_l"),
    "no answer": lambda: parse({"spatial_answer": "", "temporal_answer": "She smiles."}),
    "thoughts alone": lambda: parse({"temporal_answer": "<think>The user wants"}),
    "refusal": lambda: parse({"spatial_answer": "I'm sorry, I can't help with that."}),
}


def make(name: str) -> None:
    MISTAKES[name]()


def mistakes() -> list[str]:
    return list(MISTAKES)
