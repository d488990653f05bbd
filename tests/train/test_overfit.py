"""Two clips of one caption: the model tells them apart by the photo, and not without it."""

from __future__ import annotations

import json

import pytest
import torch
from helpers.overfit import CAPTION, FPS, NUM_STEPS, PERSONS, Overfit
from torch import Tensor

from stdrc_core.ltx.vae import load_vae
from stdrc_core.mini.text import MiniatureText
from stdrc_core.train.cache import Cache
from stdrc_core.video import read_clip

NUM_SEEDS = 4


def mean_square(difference: Tensor) -> float:
    return difference.square().mean().item()


def test_what_is_broken_is_left_out(overfit: Overfit):
    assert Cache(overfit.folder / "cache").ids == ["blue.mp4", "red.mp4"]
    assert "broken.mp4" in (overfit.folder / "cache" / "report.jsonl").read_text()


def test_the_loss_falls(overfit: Overfit):
    losses = overfit.losses()
    assert len(losses) == NUM_STEPS
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])


@pytest.fixture(scope="module")
def errors(overfit: Overfit) -> list[dict[tuple[str | None, str], float]]:
    """For each seed: photo shown (None for none), clip -> distance of the estimate from the clip.

    At t = 1 the input is noise alone: what the estimate knows of a clip is from the photo.
    """
    backbone, context = overfit.backbone(), MiniatureText().encode(CAPTION)[None]
    clips = {person: overfit.clip(person) for person in PERSONS}
    references = {person: overfit.reference(person) for person in PERSONS} | {None: None}
    found = []
    for seed in range(NUM_SEEDS):
        noise = torch.randn(clips["red"].shape, generator=torch.Generator().manual_seed(seed))
        distances = {}
        for shown, reference in references.items():
            with torch.no_grad():
                velocity = backbone(
                    noise, torch.ones(1), context, frame_rate=FPS, reference=reference
                )
            for person, clip in clips.items():
                distances[shown, person] = mean_square(noise - velocity - clip)
        found.append(distances)
    return found


def test_with_a_photo_the_estimate_is_its_own_clip(
    errors: list[dict[tuple[str | None, str], float]],
):
    for distances in errors:
        assert distances["red", "red"] < 0.95 * distances["red", "blue"]
        assert distances["blue", "blue"] < 0.95 * distances["blue", "red"]


def test_without_a_photo_the_two_cannot_be_told_apart(
    overfit: Overfit, errors: list[dict[tuple[str | None, str], float]]
):
    """One estimate for both: its mean loss is at least a quarter of the clips' distance."""
    least = mean_square(overfit.clip("red") - overfit.clip("blue")) / 4
    for distances in errors:
        without = (distances[None, "red"] + distances[None, "blue"]) / 2
        shown = (distances["red", "red"] + distances["blue", "blue"]) / 2
        assert without > least
        assert without - shown > 0.2 * least


def test_validation_shows_each_photos_clip(overfit: Overfit):
    (line,) = (overfit.out / "validation.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == NUM_STEPS
    folder = overfit.out / "validation" / f"step_{NUM_STEPS:08d}"
    assert (folder / "sheet.png").is_file()
    vae = load_vae(overfit.base)
    with torch.no_grad():
        decoded = {person: vae.decode(overfit.clip(person))[0] for person in PERSONS}
    for number, person in enumerate(PERSONS):
        _, num_frames, height, width = decoded[person].shape
        shown = read_clip(
            folder / f"{number:02d}.mp4", num_frames=num_frames, fps=FPS, height=height, width=width
        )
        pixels = shown.movedim(-1, 0) / 127.5 - 1
        other = next(name for name in PERSONS if name != person)
        assert mean_square(pixels - decoded[person]) < mean_square(pixels - decoded[other])
