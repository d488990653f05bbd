"""Flow matching and its timesteps against closed forms and docs/method.md section 4."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.method.flow import (
    add_noise,
    clean_estimate,
    identity_weight,
    resolution_shift,
    sample_logit_normal,
    sample_uniform,
    target_velocity,
)

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def random(shape: list[int], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None)
@given(shape=shapes, seed=st.integers(0, 99))
def test_noising_is_the_straight_line_whose_slope_is_the_velocity(shape: list[int], seed: int):
    clean, noise = random(shape, seed), random(shape, seed + 100)
    t = torch.rand(shape[0], dtype=torch.float64)
    velocity = target_velocity(clean, noise)
    for b, at in enumerate(t.tolist()):
        torch.testing.assert_close(add_noise(clean, noise, t)[b], clean[b] + at * velocity[b])
    torch.testing.assert_close(add_noise(clean, noise, torch.zeros_like(t)), clean)
    torch.testing.assert_close(add_noise(clean, noise, torch.ones_like(t)), noise)


@settings(deadline=None)
@given(shape=shapes, seed=st.integers(0, 99))
def test_the_true_velocity_gives_the_clean_latent_back_at_every_t(shape: list[int], seed: int):
    clean, noise = random(shape, seed), random(shape, seed + 100)
    t = torch.rand(shape[0], dtype=torch.float64)
    estimate = clean_estimate(add_noise(clean, noise, t), target_velocity(clean, noise), t)
    torch.testing.assert_close(estimate, clean)


def test_half_precision_latents_stay_half_precision():
    latent, t = torch.randn(2, 3, dtype=torch.bfloat16), torch.tensor([0.25, 0.5])
    assert add_noise(latent, latent, t).dtype == torch.bfloat16
    assert clean_estimate(latent, latent, t).dtype == torch.bfloat16


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_identity_weight_is_the_closed_form_without_the_small_constant(gamma: float):
    t = torch.linspace(0.001, 1, 200, dtype=torch.float64)
    closed = ((1 - t) ** 2 / ((1 - t) ** 2 + t**2)) ** gamma
    torch.testing.assert_close(identity_weight(t, gamma), closed, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identity_weight_is_finite_at_both_ends(dtype: torch.dtype):
    weights = identity_weight(torch.tensor([0.0, 0.5, 1.0], dtype=dtype))
    torch.testing.assert_close(weights, torch.tensor([1.0, 0.5, 0.0], dtype=dtype))


@pytest.mark.parametrize("gamma", [-0.1, math.nan])
def test_a_negative_gamma_is_refused(gamma: float):
    with pytest.raises(ValueError, match=rf"^gamma was {gamma}"):
        identity_weight(torch.tensor([0.5]), gamma)


def test_the_shift_goes_through_the_two_published_points():
    assert resolution_shift(1024) == pytest.approx(0.95)
    assert resolution_shift(4096) == pytest.approx(2.05)
    assert resolution_shift(2560) == pytest.approx(1.5)


def plain_logit_normal(num_tokens: int, count: int) -> Tensor:
    """LTX's sampler by its plain formula, from another random stream."""
    mu = 0.95 + (num_tokens - 1024) * 1.1 / 3072
    generator = torch.Generator().manual_seed(1234)
    samples = torch.sigmoid(torch.randn(count, generator=generator, dtype=torch.float64) + mu)
    low, high = (1 / (1 + math.exp(-(mu + q))) for q in (-2.5758, 3.0902))
    return ((samples - low) / (high - low)).abs().clamp(max=1)


@pytest.mark.parametrize("num_tokens", [64, 1024, 4096, 12000])
def test_timesteps_have_the_distribution_of_the_plain_formula(num_tokens: int):
    count = 40_000
    ours = sample_logit_normal(
        count, resolution_shift(num_tokens), torch.Generator().manual_seed(0), uniform_share=0.0
    )
    plain = plain_logit_normal(num_tokens, count).float()
    grid = torch.linspace(0, 1, 401)
    cdf_ours = torch.searchsorted(ours.sort().values, grid) / count
    cdf_plain = torch.searchsorted(plain.sort().values, grid) / count
    # Kolmogorov-Smirnov: two samples of one distribution differ by more once in 10^6 times.
    assert (cdf_ours - cdf_plain).abs().max() < 2.7 * math.sqrt(2 / count)


@pytest.mark.parametrize("num_tokens", [1, 1024, 15_360, 100_000, 1_000_000])
def test_timesteps_are_spread_over_0_to_1_however_long_the_video(num_tokens: int):
    t = sample_logit_normal(4000, resolution_shift(num_tokens), torch.Generator().manual_seed(0))
    assert t.shape == (4000,)
    assert t.dtype == torch.float32
    assert torch.isfinite(t).all()
    assert t.min() >= 0
    assert t.max() <= 1
    assert t.std() > 0.1


def test_a_share_of_the_timesteps_is_uniform():
    count = 20_000
    generator = torch.Generator().manual_seed(0)
    # A long video has next to no logit-normal samples below a half.
    without = sample_logit_normal(count, 6.0, generator, uniform_share=0.0)
    with_share = sample_logit_normal(count, 6.0, generator, uniform_share=0.4)
    low = [(t < 0.3).float().mean().item() for t in (without, with_share)]
    assert low[1] - low[0] == pytest.approx(0.4 * (0.3 - low[0]), abs=0.02)


def test_the_generator_alone_decides():
    draws = [sample_logit_normal(8, 1.3, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    before = torch.get_rng_state()
    sample_uniform(8, torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
