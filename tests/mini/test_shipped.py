"""The miniature that ships: what a new user's first command makes, measured on unseen persons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.real_photo import write_astronaut
from torch import Tensor

from stdrc_core.experiments.models import (
    REFERENCE_SCALE,
    SHOT,
    TEXT_SCALE,
    open_pipeline,
    open_student,
)
from stdrc_core.experiments.reader import CaptionReader
from stdrc_core.experiments.scores import draw_cases, sample_cases, score_clips
from stdrc_core.faces.finder import open_face_pack
from stdrc_core.generate.__main__ import main
from stdrc_core.generate.pipeline import Pipeline
from stdrc_core.ltx.distilled import Distilled
from stdrc_core.ltx.layout_of_files import decide_for_files
from stdrc_core.method.layout import Placement
from stdrc_core.mini.shipped import CHECKPOINT, FACES, ONE_PASS_LORA
from stdrc_core.mini.text import MiniatureText

PROMPT = "a person with red stripes, blue checked wall, bright light, near middle, turns left"
MAX_SHIPPED_BYTES = 32e6


def test_all_weights_together_are_32_mb_at_the_most():
    folders = CHECKPOINT.parent, ONE_PASS_LORA.parent
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert {CHECKPOINT, ONE_PASS_LORA} <= {*files}
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


def test_the_one_pass_lora_says_that_it_is_the_miniatures_and_for_which_scales():
    decision = decide_for_files(CHECKPOINT, [ONE_PASS_LORA])
    assert decision.distilled == Distilled(text_scale=TEXT_SCALE, reference_scale=REFERENCE_SCALE)
    assert decision.trained.base_model == CHECKPOINT.name
    assert decision.trained.base_loras is None
    assert (decision.layout.placement, decision.is_doubtful) == (Placement.TASS, False)
    assert (decision.text_scale, decision.reference_scale) == (1.0, 1.0)


@torch.no_grad()
def test_the_one_pass_lora_predicts_the_three_streams_guided_velocity():
    """On noisy clips of unseen persons it has less than half the squared error of vyr alone, with
    which its training began."""
    three, one = open_pipeline(CHECKPOINT), open_student(CHECKPOINT, ONE_PASS_LORA)
    text, generator = MiniatureText(), torch.Generator().manual_seed(3)
    errors = []
    for case, t in zip(draw_cases(6, seed=78), (0.2, 0.4, 0.6, 0.8, 0.9, 1.0), strict=True):
        clip = case.true_clip().movedim(-1, 0)[None].float() / 127.5 - 1
        clean = three.vae.encode(clip)
        noise = torch.randn(clean.shape, generator=generator)
        z = (1 - t) * clean + t * noise
        photo = three.vae.encode_photos([case.photo], *clip.shape[-2:], three.device)
        prompt, empty = text.encode(case.scene.caption)[None], three.empty_context[None]
        v0, vy = velocity(three, z, t, empty, None), velocity(three, z, t, prompt, None)
        vyr = velocity(three, z, t, prompt, photo)
        guided = v0 + TEXT_SCALE * (vy - v0) + REFERENCE_SCALE * (vyr - vy)
        student = velocity(one, z, t, prompt, photo)
        errors.append([(v - guided).square().mean().item() for v in (student, vyr)])
    of_student, of_vyr = np.mean(errors, axis=0)
    assert of_student < 0.5 * of_vyr


def velocity(
    pipeline: Pipeline, z: Tensor, t: float, context: Tensor, reference: Tensor | None
) -> Tensor:
    """One stream of one clip's latent."""
    return pipeline.backbone(
        z,
        torch.tensor([t]),
        context,
        frame_rate=SHOT.fps,
        reference=reference,
        placement=pipeline.layout.placement,
        reference_timestep=pipeline.layout.reference_timestep,
        source_phase=pipeline.layout.source_phase,
    )
