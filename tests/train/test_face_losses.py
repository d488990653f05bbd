"""Decoding around the faces: the same losses as from whole frames, and the gradients they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import mini_run, stand_in_run
from helpers.tiny_face_networks import export_recognizer, ir_net, randomize
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.faces.align import arcface_template, warp_face
from stdrc_core.faces.recognizer import Recognizer
from stdrc_core.ltx.vae import VideoVAE, load_vae
from stdrc_core.method.flow import clean_estimate
from stdrc_core.train.assemble import assemble
from stdrc_core.train.draws import TrainingSample, draw
from stdrc_core.train.face_losses import FaceLosses

CELL_PX = 32


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    export_recognizer(randomize(ir_net(num_features=16)), folder / "w600k.onnx")
    return folder


@pytest.fixture(scope="module")
def embed(pack: Path) -> Callable[[Tensor, Tensor], Tensor]:
    return Recognizer.from_pack(pack).double().embed_faces


@pytest.fixture(scope="module")
def vae(mini_checkpoint: Path) -> VideoVAE:
    return load_vae(mini_checkpoint).double()


def decode_cell_by_cell(latents: Tensor) -> Tensor:
    """A decoder without neighbours: 8 frames of 32 x 32 pixels from each cell, but for the first
    seven, each a texture of its own in colours that the cell's channels mix."""
    generator = torch.Generator().manual_seed(2)
    mix = torch.randn((latents.shape[1], 3), generator=generator, dtype=latents.dtype)
    textures = torch.rand((8, CELL_PX, CELL_PX), generator=generator, dtype=latents.dtype)
    cells = torch.einsum("bcthw,cd->bdthw", latents, mix).tanh()
    pixels = torch.einsum("bdthw,fyx->bdtfhywx", cells, textures)
    return pixels.flatten(6, 7).flatten(4, 5).flatten(2, 3)[:, :, 7:]


def clip(seed: int, cells: tuple[int, int], *, channels: int = 4) -> TrainingSample:
    """A clip of three latent frames in float64; a face of about 60 px wanders about in it."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = cells
    middle = torch.rand(stand_in_run.FRAMES, 2, generator=generator) * CELL_PX
    middle = middle * torch.tensor([columns, rows]) / 2
    size = 0.3 + 0.3 * torch.rand(stand_in_run.FRAMES, 1, 1, generator=generator)
    return TrainingSample(
        latent=torch.randn((channels, 3, *cells), generator=generator, dtype=torch.float64),
        context=torch.zeros(stand_in_run.CONTEXT),
        photo=torch.zeros(1, 8, 8, 3),
        landmarks=arcface_template().float() * size + middle[:, None],
        has_face=torch.rand(stand_in_run.FRAMES, generator=generator) < 0.8,
        e_ref=torch.randn(16, generator=generator, dtype=torch.float64),
    )


def losses_and_gradient(
    faces: FaceLosses, sample: TrainingSample, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    latent = sample.latent.clone().requires_grad_()
    (l_id,), (l_tic,) = faces(latent[None], [sample], [torch.Generator().manual_seed(seed)])
    (gradient,) = torch.autograd.grad(l_id + 0.5 * l_tic, latent)
    return l_id.detach(), l_tic.detach(), gradient


@settings(deadline=None, max_examples=15)
@given(margin=st.integers(0, 2), seed=st.integers(0, 999))
def test_a_decoder_without_neighbours_loses_nothing_by_the_crop(
    embed: Callable[[Tensor, Tensor], Tensor], margin: int, seed: int
):
    sample, options = clip(seed, (5, 6)), {"num_latent_frames": 2, "num_frames": 3}
    whole = FaceLosses(decode_cell_by_cell, embed, **options)
    cropped = FaceLosses(decode_cell_by_cell, embed, crop_margin=margin, **options)
    for ours, theirs in zip(
        losses_and_gradient(cropped, sample, seed),
        losses_and_gradient(whole, sample, seed),
        strict=True,
    ):
        # Landmarks are float32, and are rounded otherwise where they count from another corner.
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_margin_beyond_the_frame_is_no_crop_bit_for_bit(
    vae: VideoVAE, embed: Callable[[Tensor, Tensor], Tensor]
):
    sample, options = clip(3, (2, 3), channels=128), {"num_latent_frames": 2, "num_frames": 3}
    whole = losses_and_gradient(FaceLosses(vae.decode, embed, **options), sample, 3)
    faces = FaceLosses(vae.decode, embed, crop_margin=99, **options)
    for ours, theirs in zip(losses_and_gradient(faces, sample, 3), whole, strict=True):
        assert torch.equal(ours, theirs)


def test_the_real_decoder_loses_less_the_wider_the_margin(vae: VideoVAE):
    """Its layers see beyond the crop; random weights, so what is lost is no figure for users."""
    sample = clip(4, (8, 8), channels=128)
    frame = int(sample.has_face[:9].nonzero()[-1])
    only = torch.zeros(stand_in_run.FRAMES, dtype=torch.bool)
    only[frame] = True
    landmarks = sample.landmarks + 3 * CELL_PX
    sample = replace(sample, has_face=only, landmarks=landmarks, latent=sample.latent[:, :2])

    def aligned(margin: int | None) -> Tensor:
        seen = []

        def keep(images: Tensor, points: Tensor) -> Tensor:
            seen.append(warp_face(images, points))
            return seen[0].flatten(1)

        faces = FaceLosses(vae.decode, keep, num_latent_frames=2, num_frames=1, crop_margin=margin)
        e_ref = torch.ones(3 * 112 * 112, dtype=torch.float64)
        with torch.no_grad():
            looked_at = replace(sample, e_ref=e_ref)
            faces(sample.latent[None], [looked_at], [torch.Generator().manual_seed(0)])
        return seen[0]

    whole = aligned(None)
    lost = [(aligned(margin) - whole).abs().mean().item() for margin in range(4)]
    assert lost == sorted(lost, reverse=True)
    assert 0 < lost[-1] < 0.1 * lost[0]


@pytest.mark.parametrize("term", [0, 1], ids=["L_id", "L_tic"])
@pytest.mark.parametrize("margin", [None, 0])
def test_gradients_with_respect_to_the_velocity_are_finite_differences(
    vae: VideoVAE,
    embed: Callable[[Tensor, Tensor], Tensor],
    term: int,
    margin: int | None,
):
    """Eq. 6-10 in float64, through the real VAE, the warp and ArcFace's layers."""
    sample = clip(5, (2, 5), channels=128)
    sample = replace(sample, landmarks=0.4 * sample.landmarks)
    faces = FaceLosses(vae.decode, embed, num_latent_frames=2, num_frames=2, crop_margin=margin)
    generator = torch.Generator().manual_seed(6)
    noisy, velocity = (
        torch.randn(1, *sample.latent.shape, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    t = torch.tensor([0.6], dtype=torch.float64)

    def loss(velocity: Tensor) -> Tensor:
        estimate = clean_estimate(noisy, velocity, t)
        return faces(estimate, [sample], [torch.Generator().manual_seed(1)])[term][0]

    velocity.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(velocity), velocity)
    step = 1e-6
    for _ in range(3):
        direction = torch.randn(velocity.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            ahead, behind = (loss(velocity + sign * step * direction) for sign in (1, -1))
        slope = ((ahead - behind) / (2 * step)).item()
        assert slope == pytest.approx((gradient * direction).sum().item(), rel=1e-5, abs=1e-9)
    assert gradient.abs().max() > 1e-6
    # Two of the three frames, and of those the columns near the face, when cropped.
    touched = gradient[0].abs().amax(dim=0) > 0
    assert touched.any(dim=(1, 2)).sum() == 2
    assert touched.any(dim=(0, 1)).all() == (margin is None)


def test_nothing_is_decoded_where_no_frame_of_the_window_has_a_face():
    def refuse(latents: Tensor) -> Tensor:
        raise AssertionError("decoded a window without a face")

    sample = replace(clip(7, (3, 3)), has_face=torch.zeros(stand_in_run.FRAMES, dtype=torch.bool))
    faces = FaceLosses(refuse, refuse, num_latent_frames=2, num_frames=2)
    terms = faces(sample.latent[None], [sample], [torch.Generator().manual_seed(0)])
    assert [term.item() for term in terms] == [0, 0]


@pytest.mark.parametrize("start", range(stand_in_run.T))
def test_a_decoded_window_is_matched_with_its_own_landmarks(start: int):
    """Window k starts at pixel frame 8k: only that frame has a face, and it is the one embedded."""
    (sample,) = stand_in_run.random_samples(1)
    only = torch.zeros(stand_in_run.FRAMES, dtype=torch.bool)
    only[8 * start] = True
    sample = replace(sample, has_face=only)
    seen = []
    faces = stand_in_run.face_losses(num_latent_frames=1)
    embed = faces.embed

    def spy(pixels: Tensor, landmarks: Tensor) -> Tensor:
        seen.append(landmarks)
        return embed(pixels, landmarks)

    faces.embed = spy
    for seed in range(30):
        faces(sample.latent[None], [sample], [torch.Generator().manual_seed(seed)])
    assert seen
    assert all(torch.equal(points, sample.landmarks[[8 * start]]) for points in seen)


def test_a_configured_run_decodes_only_the_crop(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path, pack: Path
):
    """The decode that the loop differentiates sees the cells around the face alone."""
    section = {"lambda_id": 0.1, "lambda_tic": 0.05, "face_pack": pack, "timesteps": "uniform"}
    config = mini_run.config(
        tmp_path,
        mini_checkpoint,
        mini_cache,
        model={"checkpoint": mini_checkpoint, "dtype": "float32", "gradient_checkpointing": True},
        objective=section | {"identity_crop_margin": 0, "identity_latent_frames": 1},
    )
    parts = assemble(config, torch.device("cpu"))
    faces = parts.objective.face_losses
    decode, shapes = faces.decode, []

    def spy(latents: Tensor) -> Tensor:
        shapes.append(latents.shape)
        return decode(latents)

    faces.decode = spy
    sample = parts.samples[0]
    # A small face in the first two columns of cells.
    sample = replace(sample, landmarks=sample.landmarks * 0.4)
    drawn = draw(sample, (0, 0, 0), config.objective, config.reference)
    losses = parts.objective(parts.model, [sample], [drawn])
    assert shapes == [(1, 128, 1, 2, 2)]
    assert losses.identity > 0
    losses.total.backward()
