"""`generate --lora` with distilled weights: which scales it takes, and what it warns of."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from helpers.distilled_lora import FIXED as SCALES
from helpers.distilled_lora import write_distilled
from helpers.tiny_lora import write_tiny_lora

from stdrc_core.generate.__main__ import make_parser
from stdrc_core.generate.jobs import read_jobs
from stdrc_core.generate.models import decide_layout, load_pipeline, warn_of_scales
from stdrc_core.ltx.backbone import load_backbone
from stdrc_core.ltx.distilled import Distilled
from stdrc_core.ltx.lora import merge_lora
from stdrc_core.ltx.reference_layout import Decision, ReferenceLayout
from stdrc_core.mini.text import MiniatureText

FIXED = Distilled(text_scale=2.0, reference_scale=4.0)
RANGE = Distilled(text_scale=(1.0, 6.0), reference_scale=(1.0, 8.0))


def decision(distilled: Distilled | None, begin: tuple[float, float] | None) -> Decision:
    text_scale, reference_scale = begin or (None, None)
    return Decision(
        layout=ReferenceLayout(),
        sentence="",
        distilled=distilled,
        text_scale=text_scale,
        reference_scale=reference_scale,
    )


@pytest.mark.parametrize(
    ("distilled", "begin", "words", "scales", "warned"),
    [
        (FIXED, (1.0, 1.0), [], (1.0, 1.0), None),
        (FIXED, (1.0, 1.0), ["--text-scale", "2"], (2.0, 1.0), "guided twice"),
        (FIXED, (1.0, 1.0), ["--preset", "one-pass"], (1.0, 1.0), None),
        (RANGE, (3.0, 5.0), [], (3.0, 5.0), None),
        (RANGE, (3.0, 5.0), ["--reference-scale", "9"], (3.0, 9.0), "numbers that are within"),
        (None, (3.0, 5.0), ["--preset", "one-pass"], (1.0, 1.0), "do not say that they are"),
        (None, None, [], (5.0, 7.5), None),
        (RANGE, (0.0, 5.0), [], (0.0, 5.0), "numbers that are within"),
    ],
)
def test_scales_are_the_weights_and_others_are_warned_of(
    caplog: pytest.LogCaptureFixture,
    distilled: Distilled | None,
    begin: tuple[float, float] | None,
    words: list[str],
    scales: tuple[float, float],
    warned: str | None,
):
    """Without a flag one pass is taken by itself."""
    given = ["--checkpoint", "ltx.safetensors", "--reference", "anna.png", "--prompt", "she reads"]
    args = make_parser().parse_args([*given, *words])
    found = decision(distilled, begin)
    (job,) = read_jobs(args, found)
    guidance = job.shot.guidance
    assert (guidance.text_scale, guidance.reference_scale) == scales
    with caplog.at_level(logging.WARNING):
        warn_of_scales(args, found, [job, job])
    assert len(caplog.messages) == (warned is not None)
    if warned:
        assert warned in caplog.text
    assert Path("anna.png") == job.reference


def test_a_curve_is_refused_before_anything_is_loaded():
    args = make_parser().parse_args(
        ["--reference", "anna.png", "--prompt", "she reads", "--text-scale", "5:1"]
    )
    found = decision(RANGE, (3.0, 5.0))
    with pytest.raises(ValueError, match="the same in all steps; needs numbers: leave curves out"):
        warn_of_scales(args, found, read_jobs(args, found))


def test_a_student_runs_on_the_lora_that_it_was_distilled_from(
    mini_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Both are merged, and the student decides wherever it stands; alone it is doubted."""
    face = write_tiny_lora(tmp_path / "face.safetensors", 0.2)
    student = write_distilled(tmp_path / "s.safetensors", mini_checkpoint, SCALES, loras=(face,))
    expected = load_backbone(mini_checkpoint, dtype=torch.float32)
    for path in (face, student):
        merge_lora(expected, path)
    for order in ((face, student), (student, face)):
        words = ["--checkpoint", mini_checkpoint, "--text-encoder", "miniature"]
        words += [word for path in order for word in ("--lora", path)]
        args = make_parser().parse_args([str(word) for word in words])
        with caplog.at_level(logging.WARNING):
            found = decide_layout(args)
        assert found.distilled == FIXED
        assert not found.is_doubtful
        assert caplog.messages == []
        pipeline = load_pipeline(args, found, torch.device("cpu"), MiniatureText().encode(""))
        for ours, theirs in zip(pipeline.backbone.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    words = [*words[:4], "--lora", student]
    with caplog.at_level(logging.WARNING):
        decide_layout(make_parser().parse_args([str(word) for word in words]))
    assert "model with face.safetensors merged, and no other LoRA of that name" in caplog.text
