"""`generate --lora` with distilled weights: which scales it takes, and what it warns of."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from stdrc_core.generate.__main__ import make_parser
from stdrc_core.generate.jobs import read_jobs
from stdrc_core.generate.models import warn_of_scales
from stdrc_core.ltx.distilled import Distilled
from stdrc_core.ltx.reference_layout import Decision, ReferenceLayout

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
        (RANGE, (3.0, 5.0), ["--text-scale", "5:1"], None, "numbers that are within"),
        (None, (3.0, 5.0), ["--preset", "one-pass"], (1.0, 1.0), "do not say that they are"),
        (None, None, [], (5.0, 7.5), None),
    ],
)
def test_scales_are_the_weights_and_others_are_warned_of(
    caplog: pytest.LogCaptureFixture,
    distilled: Distilled | None,
    begin: tuple[float, float] | None,
    words: list[str],
    scales: tuple[float, float] | None,
    warned: str | None,
):
    """Without a flag one pass is taken by itself."""
    given = ["--checkpoint", "ltx.safetensors", "--reference", "anna.png", "--prompt", "she reads"]
    args = make_parser().parse_args([*given, *words])
    found = decision(distilled, begin)
    (job,) = read_jobs(args, found)
    guidance = job.shot.guidance
    if scales is not None:
        assert (guidance.text_scale, guidance.reference_scale) == scales
    with caplog.at_level(logging.WARNING):
        warn_of_scales(args, found, [job, job])
    assert len(caplog.messages) == (warned is not None)
    if warned:
        assert warned in caplog.text
    assert Path("anna.png") == job.reference
