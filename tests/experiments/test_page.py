"""The page of results, of numbers that are made up."""

from __future__ import annotations

import argparse
import re
import shlex
from typing import Any

import numpy as np
import pytest

from stdrc_core.experiments.__main__ import make_parser
from stdrc_core.experiments.ablation import paper_order
from stdrc_core.experiments.ablation_section import COPY, readme_table
from stdrc_core.experiments.arguments import build_flags
from stdrc_core.experiments.page import SECTIONS, page
from stdrc_core.experiments.page_text import count, figure, moved, paragraph, series
from stdrc_core.experiments.rows import (
    AGAINST_COPYING,
    BASE_ROW,
    PAPER_ROWS,
    ROWS,
    SHIPPED_ROW,
    TRAINED,
)
from stdrc_core.experiments.tables import DECODED_CLIPS, TRUE_CLIPS
from stdrc_core.experiments.world import KINDS, matrices, summaries
from stdrc_core.mini_build.arguments import build as build_arguments

UNMEASURED = "This has not been measured with these weights yet."


def build_numbers() -> dict[str, Any]:
    return {
        "build_command": "python -m stdrc_core.mini_build --out BUILD",
        "command": "python -m stdrc_core.experiments --build BUILD --out OUT",
        "report": {
            "faces: time_s": 1320,
            "faces: commit": "abc1234",
            "base.safetensors: time_s": 600,
            "the whole build: time_s": 9000,
            "faces: machine": "a CPU of 2 cores",
            "base.safetensors: machine": "a CPU of 2 cores",
            "faces: on unseen persons": {
                "num_persons": 300,
                "num_pictures": 900,
                "detection_rate": 1.0,
                "false_detections": 0.0,
                "pairs_found": 0.99,
                "landmark_error": 0.0231,
                "roc_auc": 0.999993,
                "tar_at_far_1e-3": 0.998,
                "genuine_cosine": 0.938,
                "impostor_cosine": 0.002,
            },
            "options": {"seed": 0, "start_from": "0123456789abcdef"},
        },
        "files": {"stdrc_mini.safetensors": {"bytes": 12_907_258, "sha256": "right"}},
    }


def ablation_numbers(moves: list[float], leaks: list[float]) -> dict[str, Any]:
    """Numbers of a made-up ablation: each of the paper's rows has this FaceSim and this leak."""
    persons, trainings = np.array([-0.05, 0.0, 0.05]), np.array([[-0.001], [0.0], [0.001]])
    values = {}
    names = [row.name for row in ROWS] + [TRUE_CLIPS, DECODED_CLIPS]
    for i, name in enumerate(names):
        facesim = (moves[i] if i < len(moves) else 0.9) + persons + trainings
        leak = np.full((3, 3), leaks[i] if i < len(leaks) else 0.0)
        own = {"facesim": facesim.tolist(), "leak": leak.tolist()}
        own |= {each: np.full((3, 3), 0.5).tolist() for each in ("second", "tic", "caption")}
        by_training = [
            {kind: {key: rows[t] for key, rows in own.items()} for kind in KINDS} for t in range(3)
        ]
        values[name] = matrices(by_training)
    results = {
        "rows": {name: summaries(values[name]) for name in names},
        "order": {kind: paper_order(values, kind) for kind in KINDS},
        "trainings": 3,
        "clips": 3990,
        "recipes": list(TRAINED),
        "against_copying": list(AGAINST_COPYING),
        "text_scale": 2.0,
        "reference_scale": 4.0,
    }
    asked = {"persons": 3, "steps": 20, "trainings": 3, "training_steps": 1500, "copies": 4000}
    return {
        "command": "python -m stdrc_core.experiments --build BUILD --out OUT --only ablation",
        "commit": "abc1234",
        "machine": "a CPU of 2 cores",
        "asked": asked,
        "files": {"stdrc_mini.safetensors": "right", "reader.pt": "1"},
        "results": results,
    }


def shipped_numbers() -> dict[str, Any]:
    """Numbers of the part `shipped`, of the same made-up scores."""
    numbers = ablation_numbers(*AS_IN_THE_PAPER)
    names = (BASE_ROW.name, SHIPPED_ROW.name, TRUE_CLIPS, DECODED_CLIPS)
    rows = {name: numbers["results"]["rows"][name] for name in names}
    asked = {"persons": 3, "steps": 20, "seeds": 3}
    return numbers | {"asked": asked, "results": numbers["results"] | {"rows": rows}}


AS_IN_THE_PAPER = ([0.1, 0.3, 0.4, 0.5, 0.6, 0.7], [0.0, 0.3, 0.25, 0.2, 0.2, 0.1])


def section(text: str, head: str) -> str:
    return text.split(f"\n## {head}\n")[1].split("\n## ")[0]


def test_without_parts_the_page_says_so_in_each_section():
    text = page({"build": build_numbers()})
    assert text.count(UNMEASURED) == len(SECTIONS)
    build = section(text, "The build")
    assert "| faces | 22 | abc1234 |" in build
    assert "| the whole build | 150 |  |" in build
    assert "| `stdrc_mini.safetensors` | 12.9 MB |" in build
    assert "Machine: a CPU of 2 cores. It began with the weights in EARLIER, those that" in build
    assert "| verification ROC AUC | 0.99999 |" in build
    assert "SHA-256 of their checkpoint begins 0123456789ab." in " ".join(build.split())
    # Each line of the contents leads to a heading.
    for head in SECTIONS:
        assert f"[{head}](#" in text and f"\n## {head}\n" in text


def test_numbers_of_other_weights_are_not_shown():
    numbers = ablation_numbers(*AS_IN_THE_PAPER)
    shown = page({"build": build_numbers(), "ablation": numbers})
    assert shown.count(UNMEASURED) == len(SECTIONS) - 1
    assert "3990 clips of one person of the build" in " ".join(shown.split())
    numbers["files"]["stdrc_mini.safetensors"] = "other"
    assert page({"build": build_numbers(), "ablation": numbers}).count(UNMEASURED) == len(SECTIONS)


def test_the_commands_are_commands():
    text = page({"build": build_numbers(), "ablation": ablation_numbers(*AS_IN_THE_PAPER)})
    commands = re.findall(r"^python -m stdrc_core\.experiments (.*)$", text, re.M)
    assert len(commands) == 2
    for line in commands:
        make_parser().parse_args(shlex.split(line))


def test_the_prose_follows_the_numbers():
    told = page({"build": build_numbers(), "ablation": ablation_numbers(*AS_IN_THE_PAPER)})
    said = " ".join(section(told, "The paper's ablation").split())
    steps = [row.name for row in PAPER_ROWS[1:]]
    listed = series([f"*{name}*" for name in steps])
    assert f"In FaceSim without leak, of the paper's 5 steps, as in the paper: {listed}." in said
    assert "the other way" not in said.split("### The paper's order")[1]

    # TASS-RoPE costs likeness where nothing leaked; identity losses do nothing.
    moves, leaks = [0.1, 0.5, 0.3, 0.4, 0.4, 0.6], [0.0] * 6
    told = page({"build": build_numbers(), "ablation": ablation_numbers(moves, leaks)})
    said = " ".join(section(told, "The paper's ablation").split())
    assert "not told apart from 0: *+ identity losses*" in said
    assert "the other way: *+ TASS-RoPE*." in said
    assert "*+ TASS-RoPE*: the other way; FaceSim falls by 0.200" in said
    assert "leaks 0.000: there is little to keep it from." in said


def test_the_readmes_rows_are_the_pages():
    numbers = shipped_numbers()
    text = page({"build": build_numbers(), "shipped": numbers})
    lines = readme_table(numbers).splitlines()
    assert lines[0] == "|  | FaceSim | TIC | background leak | caption adherence |"
    cells = [re.split(r" *\| *", line)[1:3] for line in lines[2:]]
    for name, facesim in cells:
        assert f"| {name} | {facesim} |" in section(text, "The shipped miniature")
    assert numbers["results"]["rows"][TRUE_CLIPS][COPY]["facesim"]["mean"] == pytest.approx(0.9)


def test_words_of_numbers():
    assert [series(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        *("a", "a and b", "a, b and c"),
    ]
    assert (count(1, "seed"), count(2, "seed")) == ("1 seed", "2 seeds")
    found = {"mean": -0.0312, "standard_error": 0.0104}
    assert figure(found) == "-0.031 ± 0.010"
    assert moved("FaceSim", found, "below") == "FaceSim falls by 0.031 ± 0.010"
    assert moved("it", found, "not told apart") == "it stays within two errors (-0.031 ± 0.010)"
    text = paragraph("A sentence of many words, " * 12, "", "And  another.")
    assert all(len(line) <= 120 for line in text.splitlines())
    assert text.endswith("And another.\n")


def test_the_builds_command_has_what_was_chosen():
    assert build_flags({}) == []
    parser = argparse.ArgumentParser()
    build_arguments(parser)
    words = ["--start-from", "old", "--vae-steps", "3", "--bfloat16", "--out", "x"]
    options = vars(parser.parse_args(words)) | {"start_from": "0123"}
    left_out = ("out", "until", "num_processes")
    asked = build_flags({name: own for name, own in options.items() if name not in left_out})
    assert asked == ["--start-from", "EARLIER", "--vae-steps", "3", "--bfloat16"]
