"""The miniature's VAE: its start against block PCA, and the shipped one on new clips."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stdrc_core.faces.recognizer import Recognizer
from stdrc_core.ltx.checkpoint import vae_key
from stdrc_core.ltx.vae import load_vae
from stdrc_core.mini import config
from stdrc_core.mini.shipped import CHECKPOINT, FACES
from stdrc_core.mini_build.portraits import draw_portraits
from stdrc_core.mini_build.random_weights import build_vae
from stdrc_core.mini_build.vae_start import start_from_components
from stdrc_core.mini_build.vae_training import (
    draw_clips,
    measure_latents,
    psnr,
    signed,
    train_vae,
)

NUM_CLIPS = 12


@pytest.fixture(scope="module")
def clips() -> Tensor:
    return draw_clips(NUM_CLIPS, 5, unseen=False).pixels


def block_pca_psnr(clips: Tensor, num_components: int) -> float:
    """The best linear code of 8 x 32 x 32 blocks (the clip's frames but the first), in dB."""
    pixels = signed(clips)[:, :, 1:]
    split = pixels.unflatten(4, (-1, 32)).unflatten(3, (-1, 32)).unflatten(2, (-1, 8))
    blocks = split.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(0, 3).flatten(1)
    centred = blocks - blocks.mean(dim=0)
    energies = torch.linalg.svdvals(centred).square()
    return float(10 * torch.log10(4 * centred.numel() / energies[num_components:].sum()))


def mean_color_psnr(clips: Tensor) -> float:
    """Of flat clips, all of one colour, in dB."""
    pixels = signed(clips)
    errors = (pixels - pixels.mean(dim=(0, 2, 3, 4), keepdim=True)).square().mean(dim=(1, 2, 3, 4))
    return float((10 * (4 / errors).log10()).mean())


def test_the_start_is_near_the_best_linear_code_of_its_clips(clips: Tensor):
    vae = build_vae()
    start_from_components(vae, signed(clips))
    # Far above the mean colour, which a random start stays at; the decoder's widths cost the rest.
    assert psnr(vae, clips) > 0.75 * block_pca_psnr(clips, 128)
    assert psnr(vae, clips) > 20
    # A code of the clip, not a memory of these: others come out as well, though not as sharp.
    others = draw_clips(4, 6, unseen=True).pixels
    assert psnr(vae, others) > mean_color_psnr(others) + 1.5
    measure_latents(vae, clips)
    latents = vae.encode(signed(clips[:4])).latent_dist.mode()
    assert latents.shape == (4, 128, 3, 4, 4)
    assert float(vae.latents_std.min()) > 0


def test_the_start_is_the_same_each_time(clips: Tensor):
    states = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            vae = build_vae()
        start_from_components(vae, signed(clips[:3]))
        states.append(vae.decoder.conv_in.conv.weight)
    assert torch.allclose(*states)


def test_the_shipped_vae_codes_unseen_persons():
    vae = load_vae(CHECKPOINT, torch.float32)
    clips = draw_clips(8, 7, unseen=True).pixels
    with torch.no_grad():
        latents = vae.encode(signed(clips))
    errors = (vae.decode(latents).clamp(-1, 1) - signed(clips)).square().mean(dim=(1, 2, 3, 4))
    assert float((10 * torch.log10(4 / errors)).mean()) > 24
    # What the transformer works on: of mean 0 and variance 1 in each channel, about.
    assert float(latents.mean().abs()) < 0.1
    assert float(latents.std()) == pytest.approx(1, abs=0.15)


def test_a_decoder_that_goes_on_leaves_the_latents_as_they_are():
    """What was trained on the latents stays of use: encoder and statistics do not change."""
    tensors = load_file(CHECKPOINT)
    vae = build_vae()
    last_block = len(config.ENCODER_LAYERS) - 1
    vae.load_state_dict({key: tensors[vae_key(key, last_block)] for key in vae.state_dict()})
    before = {key: value.clone() for key, value in vae.state_dict().items()}
    photos = draw_portraits(6, 1, 3, unseen=False)
    train_vae(
        vae,
        draw_clips(6, 3, unseen=False),
        photos,
        Recognizer.from_pack(FACES),
        num_steps=3,
        keeps_encoder=True,
        batch_size=2,
        num_photos=2,
    )
    changed = {key for key, value in vae.state_dict().items() if not value.equal(before[key])}
    assert changed
    assert all(key.startswith("decoder.") for key in changed)
