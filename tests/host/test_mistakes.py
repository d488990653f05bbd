"""Bad input: one sentence that names the input, what it was and what to do, before any sampling."""

from __future__ import annotations

import pytest
from helpers.comfyui import Worker
from helpers.one_sentence import assert_one_clear_sentence

pytestmark = pytest.mark.host

# The mistake, and what its message has to contain: the input's name first, then what is needed.
MESSAGES = {
    "no image": ["image", "[0, 60, 40, 3]", "one photo"],
    "nan image": ["image", "NaN"],
    "image latent": ["latent", "[1, 4, 8, 8]", "EmptyLTXVLatentVideo"],
    "image vae": ["vae", "4 channels", "LTX"],
    "unknown colour": ["pad_color", "mauve-ish", "#000000"],
    "mask of another size": ["mask", "30 x 40", "60 x 40", "same size"],
    "masks of another number": ["mask", "[3, 60, 40]", "batch of 2", "one for each"],
    "mask in grey levels": ["mask", "255", "[0, 1]"],
    "held for 32 frames": ["held_frames", "32", "8n + 1", "33"],
    "held with tass": ["reference", "[1, 128, 5, 4, 4]", "tass", "held_frames 1"],
    "held longer than the clip": ["reference", "5 latent frames", "latent_image 3", "overlap"],
    "held differently": ["ReferenceLatent", "1 and 2 latent frames", "held_frames"],
    "not ltx": ["model", "Flux", "LTX"],
    "unpatched": ["model", "Apply TASS-RoPE Patch"],
    "reference of several frames": ["reference", "[1, 128, 2, 4, 4]", "Encode Reference Latent"],
    "reference is an image latent": ["reference", "[1, 4, 8, 8]", "Encode Reference Latent"],
    "reference of another size": ["reference", "6 x 5", "4 x 4", "Encode Reference Latent"],
    "reference of other channels": ["reference", "16 channels", "128", "VAE"],
    "nan reference": ["reference", "NaN"],
    "infinite reference": ["reference", "infinite"],
    "nan video": ["latent_image", "NaN"],
    "text scale": ["text_scale", "nan", "finite"],
    "reference scale": ["reference_scale", "inf", "finite"],
    "window": ["start_percent", "0.8", "0.2"],
    "rescale": ["guidance_rescale", "1.5", "0 (off) to 1"],
    "reference every": ["reference_every", "0", "1 (every step)"],
    "audio scale": ["audio_scale", "inf", "finite"],
    "audio scale without audio": ["audio_scale", "5.0", "no audio", "LTXV Concat AV Latent"],
    "sampler's audio scale without audio": ["audio_scale", "7.0", "no audio"],
    "model put in that is not patched": ["model", "Apply TASS-RoPE Patch"],
    "empty prompt put in": ["negative", "empty", "prompt"],
    "curve that does not fall": ["start_sigma", "0.2", "end_sigma", "0.9"],
    "curve to nowhere": ["end", "nan", "finite"],
    "empty positive": ["positive", "empty", "prompt"],
    "empty negative": ["negative", "empty", "prompt"],
    "core reference of another size": ["ReferenceLatent", "6 x 5", "4 x 4"],
    "reference is audio and video": ["reference", "audio+video", "Encode Reference Latent"],
    "core reference is audio and video": ["ReferenceLatent", "audio+video", "one photo"],
    "video of other channels": ["latent_image", "[1, 16, 3, 4, 4]", "128", "EmptyLTXVLatentVideo"],
    "image latent to sample": ["latent_image", "EmptyLTXVLatentVideo"],
    "area in negative": ["negative", "area", "Set Mask"],
    "area": ["positive", "area", "reference", "Set Mask"],
    "core references of two sizes": ["ReferenceLatent", "6 x 5", "4 x 4"],
    "native list for another size": ["reference", "6 x 5", "4 x 4"],
    "list of two sizes": ["reference", "[1, 128, 1, 6, 5]", "[1, 128, 1, 4, 4]", "same size"],
    "slot taken twice": ["slot", "0", "taken", "-1"],
    "list in a list": ["reference", "list already", "references"],
    "list that lost a reference": ["reference", "1 latents", "2 stand", "Reference List"],
    "angles of interleaved rope": ["placement", "strata", "interleaved", "tass"],
}


@pytest.mark.parametrize("mistake", MESSAGES)
def test_one_clear_sentence(host: Worker, mistake: str) -> None:
    assert_one_clear_sentence(host, "mistakes.make", mistake, MESSAGES[mistake])


def test_every_mistake_is_checked(host: Worker) -> None:
    assert sorted(host("mistakes.names")) == sorted(MESSAGES)
