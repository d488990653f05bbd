"""The last step of the way: trained on two clips, exported, sampled by the host with a photo."""

from __future__ import annotations

import pytest
import torch
from helpers.comfyui import Worker
from helpers.overfit import (
    CAPTION,
    FPS,
    NUM_SAMPLING_STEPS,
    PERSONS,
    REFERENCE_SCALE,
    TEXT_SCALE,
    Overfit,
)
from torch import Tensor

from stdrc_core.method.guidance_options import GuidanceOptions
from stdrc_core.method.sampling import sample
from stdrc_core.mini.text import MiniatureText

pytestmark = [pytest.mark.host, pytest.mark.newest_host]


@pytest.fixture(scope="module")
def sampled(host: Worker, overfit: Overfit) -> dict[str, dict[str, Tensor]]:
    """By person: what the host makes of one noise and the person's photo."""
    return {
        person: host(
            "overfit.sample",
            path=str(overfit.weights),
            photo=overfit.photo(person),
            prompt=CAPTION,
            noise=noise_of(overfit),
            num_steps=NUM_SAMPLING_STEPS,
            text_scale=TEXT_SCALE,
            reference_scale=REFERENCE_SCALE,
        )
        for person in PERSONS
    }


def noise_of(overfit: Overfit) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(overfit.clip("red").shape, generator=generator)


def distance(one: Tensor, other: Tensor) -> float:
    return (one - other).square().mean().item()


def test_a_photo_brings_its_own_clip(sampled: dict[str, dict[str, Tensor]], overfit: Overfit):
    for person, other in (("red", "blue"), ("blue", "red")):
        latent = sampled[person]["latent"]
        own = distance(latent, overfit.clip(person))
        assert own < 0.8 * distance(latent, overfit.clip(other))


def test_the_host_samples_what_the_trainer_samples(
    sampled: dict[str, dict[str, Tensor]], overfit: Overfit
):
    backbone, text = overfit.backbone(), MiniatureText()
    for person in PERSONS:
        ours = sample(
            lambda video, t, context, reference: backbone(
                video, t, context, frame_rate=FPS, reference=reference
            ),
            noise_of(overfit),
            sampled[person]["sigmas"],
            text=text.encode(CAPTION)[None],
            empty=text.encode("")[None],
            reference=overfit.reference(person),
            guidance=GuidanceOptions(text_scale=TEXT_SCALE, reference_scale=REFERENCE_SCALE),
        )
        theirs = sampled[person]["latent"]
        assert (ours - theirs).norm() / theirs.norm() < 1e-4
