"""The miniature that ships: what a new user's first command makes, measured on unseen persons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.real_photo import write_astronaut

from stdrc_core.experiments.models import SHOT, open_pipeline
from stdrc_core.experiments.reader import CaptionReader
from stdrc_core.experiments.scores import draw_cases, sample_cases, score_clips
from stdrc_core.faces.finder import open_face_pack
from stdrc_core.generate.__main__ import main
from stdrc_core.method.layout import Placement
from stdrc_core.mini.shipped import CHECKPOINT, FACES

PROMPT = "a person with red stripes, blue checked wall, bright light, near middle, turns left"
MAX_SHIPPED_BYTES = 16e6


def test_all_weights_together_are_16_mb_at_the_most():
    files = [path for path in CHECKPOINT.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MAX_SHIPPED_BYTES


def test_generate_needs_nothing_but_a_photo_and_a_prompt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    from stdrc_core.mini.__main__ import main as mini

    caplog.set_level("INFO")
    photo = tmp_path / "person.png"
    mini(["draw", "--out", str(photo), "--seed", "3"])
    main(["--reference", str(photo), "--prompt", PROMPT, "--out", str(tmp_path), "--steps", "8"])
    result = json.loads((tmp_path / "person_0.json").read_text())
    assert len(result["similarity"]) == 17
    assert None not in result["similarity"]
    assert result["facesim"] > 0.2
    assert sum("drawn characters only" in line for line in caplog.messages) == 1


def test_a_real_photo_runs_and_is_told_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    photo = write_astronaut(tmp_path / "astronaut.png")
    main(["--reference", str(photo), "--prompt", PROMPT, "--out", str(tmp_path), "--steps", "2"])
    assert (tmp_path / "astronaut_0.mp4").stat().st_size > 0
    assert sum("no real person" in line for line in caplog.messages) == 1


def test_the_prompt_decides_the_scene_and_nothing_leaks_from_the_photos(reader: CaptionReader):
    cases = draw_cases(10, seed=77)
    pipeline = open_pipeline(CHECKPOINT)
    assert pipeline.layout.placement is Placement.TASS
    clips = sample_cases(pipeline, cases, replace(SHOT, num_steps=10), seed=0)
    scores = score_clips(clips, cases, open_face_pack(FACES), reader)
    assert np.mean([each.caption for each in scores]) > 0.6
    assert np.mean([each.leak for each in scores]) < 0.2
    shot = replace(SHOT, num_steps=10).guided(reference_scale=0.0)
    without = sample_cases(pipeline, cases, shot, seed=0)
    plain = score_clips(without, cases, open_face_pack(FACES), reader)
    facesim = [np.mean([each.facesim for each in rows]) for rows in (scores, plain)]
    assert facesim[0] > facesim[1] + 0.25
    # Each frame has one person, and the same one throughout.
    assert np.mean([each.tic for each in scores]) > 0.7
