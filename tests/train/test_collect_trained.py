"""From raw footage to a LoRA by commands alone: it keeps the faces of persons it never saw.

The base is the shipped miniature with the reference placed where it was never trained to have it,
so that it does not know what the reference is for.
"""

from __future__ import annotations

import logging
import os
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers import commands
from helpers.drawn_footage import Part, write_video
from helpers.drawn_persons import write_photo
from helpers.json_lines import read_json_lines, write_json_lines

from stdrc_core.mini.character import draw_numbers
from stdrc_core.mini.scene import CLIP_FREEDOM, draw_scene
from stdrc_core.mini.shipped import CHECKPOINT, FACES
from stdrc_core.text_files import read_json

# As it was measured for the docs: STDRC_COLLECT_TRAIN="16 12 500 32" (videos, persons, steps,
# unseen persons).
SIZES = os.environ.get("STDRC_COLLECT_TRAIN", "4 6 500 4")
NUM_VIDEOS, NUM_PERSONS, NUM_STEPS, NUM_UNSEEN = map(int, SIZES.split())
NUM_FRAMES = 17
PLACEMENT = "temporal_only"

log = logging.getLogger(__name__)


def write_takes(folder: Path) -> None:
    """A scene in each video, with a text that tells it; everybody is in it in turn, and between two
    persons an empty room is shown."""
    rng = random.Random(3)
    people = draw_numbers(NUM_PERSONS + NUM_UNSEEN, random.Random(7), unseen=True)[:NUM_PERSONS]
    for number in range(NUM_VIDEOS):
        scene = draw_scene(rng, freedom=CLIP_FREEDOM)
        scene = replace(scene, motion=rng.choice(("turns left", "nods slowly", "comes closer")))
        parts = []
        for person in people:
            parts.append(Part(kind="good", people=(person,), seconds=1.0, scene=scene))
            parts.append(Part(kind="nobody", people=(), seconds=0.3))
        write_video(folder / f"take_{number:02d}.mp4", parts, rng, Fraction(24))
        (folder / f"take_{number:02d}.txt").write_text(scene.caption)


def write_requests(folder: Path) -> Path:
    """Photos of persons who are not in the footage, and prompts."""
    rng = random.Random(5)
    people = draw_numbers(NUM_PERSONS + NUM_UNSEEN, random.Random(7), unseen=True)[NUM_PERSONS:]
    lines = []
    for number, person in enumerate(people):
        scene = draw_scene(rng)
        write_photo(folder / f"{number}.png", person, scene)
        prompt = draw_scene(rng, unlike=scene, freedom=CLIP_FREEDOM).caption
        lines.append({"reference": f"{number}.png", "prompt": prompt, "name": str(number)})
    return write_json_lines(folder / "requests.jsonl", lines)


def face_sims(out: Path, requests: Path, *more: Any) -> np.ndarray:
    """FaceSim of a clip of each unseen person."""
    commands.run(
        *("-m", "stdrc_core.generate", "--batch", requests, "--out", out, "--steps", 10),
        *("--placement", PLACEMENT, "--text-scale", 2, "--reference-scale", 4, *more),
    )
    return np.array([read_json(out / f"{number}.json")["facesim"] for number in range(NUM_UNSEEN)])


@pytest.mark.skipif(
    "STDRC_COLLECT_TRAIN" not in os.environ, reason="takes minutes: set STDRC_COLLECT_TRAIN"
)
def test_footage_becomes_a_lora_that_keeps_unseen_faces(tmp_path: Path):
    footage, data, cache = tmp_path / "footage", tmp_path / "collected", tmp_path / "cache"
    write_takes(footage)
    commands.train(
        *("collect", "--footage", footage, "--out", data, "--faces", FACES, "--min-face", 40),
        *("--num-frames", NUM_FRAMES, "--captions", "sidecar"),
    )
    lines = read_json_lines(data / "manifest.jsonl")
    assert len(lines) >= 0.9 * NUM_VIDEOS * NUM_PERSONS
    commands.train(
        *("prepare", "--data", data / "manifest.jsonl", "--out", cache),
        *("--checkpoint", CHECKPOINT, "--faces", FACES, "--text-encoder", "miniature"),
        *("--num-frames", NUM_FRAMES, "--height", 128, "--width", 128),
    )
    assert len(read_json_lines(cache / "samples.jsonl")) >= 0.9 * len(lines)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(recipe_values(cache, tmp_path / "run")))
    commands.train(recipe)
    requests = write_requests(tmp_path)
    before = face_sims(tmp_path / "before", requests)
    lora = tmp_path / "run" / "stdrc_lora.safetensors"
    gains = face_sims(tmp_path / "after", requests, "--lora", lora) - before
    error = gains.std(ddof=1) / NUM_UNSEEN**0.5
    told = f"FaceSim {before.mean():.3f} before, and {gains.mean():+.3f} ± {error:.3f}"
    log.info("%s", told)
    assert gains.mean() > 2 * error, told


def recipe_values(cache: Path, out: Path) -> dict[str, Any]:
    return {
        "model": {
            "checkpoint": str(CHECKPOINT),
            "dtype": "float32",
            "gradient_checkpointing": False,
        },
        "data": {"cache": str(cache)},
        "run": {"out": str(out), "num_steps": NUM_STEPS, "batch_size": 4, "micro_batch_size": 4},
        "reference": {"placement": PLACEMENT, "p_drop": 0.2},
        "objective": {
            "face_pack": str(FACES),
            "timestep_shift": 1.5,
            "lambda_id": 0.5,
            "lambda_tic": 0.05,
            "identity_share": 0.25,
            "identity_frames": 2,
        },
        "trainable": {"method": "lora", "rank": 32, "alpha": 32},
        "optimizer": {"lr": 2e-3, "beta2": 0.99, "num_warmup_steps": 10},
    }
