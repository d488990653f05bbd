"""L_id and L_tic against plain loops and finite differences (Eq. 6, 8-10)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.method.flow import clean_estimate
from stdrc_core.method.identity import EPS, identity_loss, mean_direction, mean_face, tic, tic_loss


def clip(batch: int, frames: int, dim: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, frames, dim, generator=generator, dtype=torch.float64),
        torch.randn(batch, dim, generator=generator, dtype=torch.float64),
        torch.rand(batch, frames, generator=generator) < 0.6,
    )


def cosine(a: list[float], b: list[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


@settings(deadline=None)
@given(
    batch=st.integers(1, 3),
    frames=st.integers(1, 5),
    dim=st.integers(2, 6),
    seed=st.integers(0, 999),
)
def test_both_losses_are_the_means_over_the_frames_that_show_a_face(batch, frames, dim, seed):
    embeddings, reference, has_face = clip(batch, frames, dim, seed)
    loss_id = identity_loss(embeddings, reference, has_face)
    loss_tic = tic_loss(embeddings, has_face)
    for b in range(batch):
        faces = [e.tolist() for e, m in zip(embeddings[b], has_face[b], strict=True) if m]
        expected_id = mean([1 - cosine(face, reference[b].tolist()) for face in faces])
        average = [mean(list(column)) for column in zip(*faces, strict=True)]
        expected_tic = mean([1 - cosine(face, average) for face in faces])
        assert loss_id[b].item() == pytest.approx(expected_id, abs=1e-5)
        assert loss_tic[b].item() == pytest.approx(expected_tic, abs=1e-5)


def test_the_same_face_in_every_frame_costs_nothing_and_the_opposite_one_two():
    face = torch.randn(1, 8, dtype=torch.float64)
    still = face[:, None].expand(1, 4, 8)
    shown = torch.ones(1, 4)
    assert identity_loss(still, face, shown).item() == pytest.approx(0, abs=1e-5)
    assert identity_loss(-still, face, shown).item() == pytest.approx(2, abs=1e-5)
    assert tic_loss(still, shown).item() == pytest.approx(0, abs=1e-5)


@settings(deadline=None)
@given(frames=st.integers(1, 6), dim=st.integers(2, 6), seed=st.integers(0, 999))
def test_score_and_curve_of_tic_are_those_of_its_loss(frames: int, dim: int, seed: int):
    faces = torch.nn.functional.normalize(clip(1, frames, dim, seed)[0][0], dim=1)
    shown = torch.ones(1, frames)
    average = [mean(list(column)) for column in zip(*faces.tolist(), strict=True)]
    curve = [cosine(face, average) for face in faces.tolist()]
    assert (faces @ mean_direction(faces)).tolist() == pytest.approx(curve, abs=1e-9)
    assert tic(faces).item() == pytest.approx(mean(curve), abs=1e-9)
    assert tic(faces).item() == pytest.approx(1 - tic_loss(faces[None], shown).item(), abs=1e-5)
    assert mean_face(faces[None], shown)[0].tolist() == pytest.approx(average, abs=EPS)


def test_a_clip_without_a_face_has_no_loss_and_no_gradient():
    embeddings = torch.full((1, 3, 4), math.nan, requires_grad=True)
    shown = torch.zeros(1, 3, dtype=torch.bool)
    total = identity_loss(embeddings, torch.ones(1, 4), shown)
    total = total + tic_loss(embeddings, shown)
    total.sum().backward()
    assert total.item() == 0
    assert torch.equal(embeddings.grad, torch.zeros(1, 3, 4))


def test_a_frame_without_a_face_may_hold_anything():
    embeddings, reference, _ = clip(2, 3, 5, seed=1)
    shown = torch.tensor([[1, 0, 1], [1, 1, 0]])
    broken = embeddings.clone()
    broken[0, 1] = math.nan
    broken[1, 2] = math.inf
    for loss in (
        lambda e: identity_loss(e, reference, shown),
        lambda e: tic_loss(e, shown),
    ):
        assert torch.equal(loss(broken), loss(embeddings))


def test_the_reference_is_data_and_gets_no_gradient():
    embeddings, reference, has_face = clip(1, 3, 4, seed=3)
    reference.requires_grad_()
    embeddings.requires_grad_()
    identity_loss(embeddings, reference, has_face).sum().backward()
    assert reference.grad is None
    assert embeddings.grad is not None


@pytest.mark.parametrize("loss", ["id", "tic"])
def test_gradients_with_respect_to_the_predicted_velocity_are_finite_differences(loss: str):
    """Through z^_0 (Eq. 6), a stand-in for decoder and face network, and the loss; in float64."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    noisy, velocity = normal(2, 3, 4), normal(2, 3, 4).requires_grad_()
    t = torch.tensor([0.3, 0.8], dtype=torch.float64)
    decoder, face_network, reference = normal(4, 6), normal(6, 5), normal(2, 5)
    shown = torch.tensor([[True, True, False], [True, False, True]])

    def total(velocity: Tensor) -> Tensor:
        frames = torch.tanh(clean_estimate(noisy, velocity, t) @ decoder)
        embeddings = torch.tanh(frames @ face_network)
        if loss == "id":
            return identity_loss(embeddings, reference, shown).sum()
        return tic_loss(embeddings, shown).sum()

    assert torch.autograd.gradcheck(total, (velocity,), eps=1e-6, atol=1e-7)
    (gradient,) = torch.autograd.grad(total(velocity), velocity)
    assert gradient[0, 0].abs().max() > 1e-4
    assert torch.equal(gradient[0, 2], torch.zeros(4, dtype=torch.float64))
