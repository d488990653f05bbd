"""Flow matching (docs/method.md section 4): noise, velocity, clean estimate, what each t weighs.

    z_t = (1 - t) z_0 + t eps       v = eps - z_0       z^_0 = z_t - t v^        (Eq. 6)
    SNR(t) = ((1 - t) / (t + e))^2  w(t) = (SNR / (SNR + 1))^gamma               (Eq. 11-12)

t runs from 0 (clean) to 1 (noise) and has one value per sample, `[B]`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# The line through LTX's two published points, (tokens, shift), as LTXVScheduler draws it too.
MIN_TOKENS, MIN_SHIFT = 1024, 0.95
MAX_TOKENS, MAX_SHIFT = 4096, 2.05
# Quantiles of the logit-normal that LTX's trainer stretches to 0 and 1: those of 0.5 % and 99.9 %.
LOW_QUANTILE, HIGH_QUANTILE = -2.5758, 3.0902
# Share of samples that LTX's trainer draws uniformly, so that no t is never seen.
UNIFORM_SHARE = 0.1
SNR_EPS = 1e-8


def add_noise(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """z_t of `clean` z_0 and `noise` eps, both `[B, ...]`, at `t` `[B]` in [0, 1]."""
    t = _per_sample(t, clean)
    return (1 - t) * clean + t * noise


def target_velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """v = eps - z_0, what the model is trained to predict."""
    return noise - clean


def clean_estimate(noisy: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
    """z^_0 = z_t - t v^ (Eq. 6), all `[B, ...]` with `t` `[B]`."""
    return noisy - _per_sample(t, noisy) * velocity


def identity_weight(t: Tensor, gamma: float = 1.0) -> Tensor:
    """w(t) of Eq. 11-12, `[B]` in [0, 1]: near 1 where z^_0 is trustworthy, 0 at pure noise.

    Raises ValueError for a negative gamma.
    """
    if not gamma >= 0:
        raise ValueError(f"gamma was {gamma}; it needs to be 0 or more (the paper's is 1.0).")
    snr = ((1 - t) / (t + SNR_EPS)) ** 2
    return (snr / (snr + 1)) ** gamma


def resolution_shift(num_tokens: int) -> float:
    """The logit by which LTX moves its timesteps towards noise for a video of `num_tokens`."""
    slope = (MAX_SHIFT - MIN_SHIFT) / (MAX_TOKENS - MIN_TOKENS)
    return MIN_SHIFT + slope * (num_tokens - MIN_TOKENS)


def sample_logit_normal(
    batch: int,
    shift: float,
    generator: torch.Generator,
    *,
    uniform_share: float = UNIFORM_SHARE,
) -> Tensor:
    """LTX's shifted logit-normal timesteps: `[batch]` float32 in [0, 1], on the CPU.

    t = sigmoid(x) with x normal around `shift`, LTX's being `resolution_shift`, stretched so that
    two quantiles of x land on 0 and 1; what the stretch throws below 0 is mirrored, what lies above
    1 is 1. A share of the samples is uniform instead. All as LTX's own trainer draws them.
    """
    low, high = shift + LOW_QUANTILE, shift + HIGH_QUANTILE
    x = shift + torch.randn(batch, generator=generator, dtype=torch.float64)
    stretched = _stretch(x, low, high).abs().clamp(max=1)
    uniform = torch.rand(batch, generator=generator, dtype=torch.float64)
    is_uniform = torch.rand(batch, generator=generator, dtype=torch.float64) < uniform_share
    return torch.where(is_uniform, uniform, stretched).float()


def sample_uniform(batch: int, generator: torch.Generator) -> Tensor:
    """Uniform timesteps: `[batch]` float32 in [0, 1), on the CPU."""
    return torch.rand(batch, generator=generator)


def _stretch(x: Tensor, low: float, high: float) -> Tensor:
    """(s(x) - s(low)) / (s(high) - s(low)) with s the sigmoid.

    Written with s(a) - s(b) = sinh((a - b) / 2) / (2 cosh(a / 2) cosh(b / 2)): for long videos all
    three sigmoids round to 1, and the plain quotient to 0 / 0.
    """
    log_cosh_ratio = _log_cosh(torch.tensor(high / 2, dtype=x.dtype)) - _log_cosh(x / 2)
    return torch.sinh((x - low) / 2) / math.sinh((high - low) / 2) * log_cosh_ratio.exp()


def _log_cosh(x: Tensor) -> Tensor:
    return x.abs() + torch.log1p(torch.exp(-2 * x.abs()))


def _per_sample(t: Tensor, like: Tensor) -> Tensor:
    """`[B]` as `[B, 1, ...]` in the dtype and on the device of `like`."""
    return t.to(like).view(-1, *[1] * (like.ndim - 1))
