"""Flow matching (docs/method.md section 4): noise, velocity, clean estimate and the weight of t.

    z_t = (1 - t) z_0 + t eps       v = eps - z_0       z^_0 = z_t - t v^        (Eq. 6)
    SNR(t) = ((1 - t) / (t + e))^2  w(t) = (SNR / (SNR + 1))^gamma               (Eq. 11-12)

t runs from 0 (clean) to 1 (noise) and has one value per sample, `[B]`. e is a small number that
keeps the quotient finite.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# LTX publishes the shift for two numbers of tokens. For others it is taken from the straight line
# through these two points, as in ComfyUI's LTXVScheduler.
MIN_TOKENS, MIN_SHIFT = 1024, 0.95
MAX_TOKENS, MAX_SHIFT = 4096, 2.05
# The quantiles of the standard normal distribution for 0.5 % and 99.9 %. LTX's trainer stretches
# its timesteps so that these two land on 0 and 1.
LOW_QUANTILE, HIGH_QUANTILE = -2.5758, 3.0902
# The share of samples that LTX's trainer draws uniformly, so that every t is seen in training.
UNIFORM_SHARE = 0.1
SNR_EPS = 1e-8


def add_noise(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Returns z_t = (1 - t) z_0 + t eps, where z_0 is `clean` and eps is `noise`.

    Both are `[B, ...]`, and so is z_t; `t` `[B]` is in [0, 1].
    """
    t = _per_sample(t, clean)
    return (1 - t) * clean + t * noise


def target_velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """Returns v = eps - z_0, which the model is trained to predict; all are `[B, ...]`."""
    return noise - clean


def clean_estimate(noisy: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
    """Returns z^_0 = z_t - t v^ (Eq. 6); all are `[B, ...]`, and `t` is `[B]`."""
    return noisy - _per_sample(t, noisy) * velocity


def identity_weight(t: Tensor, gamma: float = 1.0) -> Tensor:
    """Returns w(t) of Eq. 11-12, `[B]` in [0, 1].

    It is near 1 where the clean estimate can be trusted, and 0 at pure noise. Raises ValueError for
    a negative gamma.
    """
    if not gamma >= 0:
        raise ValueError(f"gamma was {gamma}; it needs to be 0 or more (the paper's is 1.0).")
    snr = ((1 - t) / (t + SNR_EPS)) ** 2
    return (snr / (snr + 1)) ** gamma


def resolution_shift(num_tokens: int) -> float:
    """Returns how far LTX moves the logit of t towards noise for a video of `num_tokens` tokens."""
    slope = (MAX_SHIFT - MIN_SHIFT) / (MAX_TOKENS - MIN_TOKENS)
    return MIN_SHIFT + slope * (num_tokens - MIN_TOKENS)


def sample_logit_normal(
    batch: int,
    shift: float,
    generator: torch.Generator,
    *,
    uniform_share: float = UNIFORM_SHARE,
) -> Tensor:
    """Draws LTX's shifted logit-normal timesteps: `[batch]` float32 in [0, 1], on the CPU.

    t = sigmoid(x), where x is normal with mean `shift` (LTX's is `resolution_shift`) and standard
    deviation 1. The values of t are then stretched so that two quantiles of x land on 0 and 1;
    values that end below 0 are mirrored, and values that end above 1 become 1. The share
    `uniform_share` of the samples is drawn uniformly instead. LTX's own trainer does the same.
    """
    low, high = shift + LOW_QUANTILE, shift + HIGH_QUANTILE
    x = shift + torch.randn(batch, generator=generator, dtype=torch.float64)
    stretched = _stretch(x, low, high).abs().clamp(max=1)
    uniform = torch.rand(batch, generator=generator, dtype=torch.float64)
    is_uniform = torch.rand(batch, generator=generator, dtype=torch.float64) < uniform_share
    return torch.where(is_uniform, uniform, stretched).float()


def sample_uniform(batch: int, generator: torch.Generator) -> Tensor:
    """Draws uniform timesteps: `[batch]` float32 in [0, 1), on the CPU."""
    return torch.rand(batch, generator=generator)


def _stretch(x: Tensor, low: float, high: float) -> Tensor:
    """Returns (s(x) - s(low)) / (s(high) - s(low)), where s is the sigmoid.

    For long videos all three sigmoids round to 1, and this quotient would be 0 / 0. So it is
    computed by way of s(a) - s(b) = sinh((a - b) / 2) / (2 cosh(a / 2) cosh(b / 2)).
    """
    log_cosh_ratio = _log_cosh(torch.tensor(high / 2, dtype=x.dtype)) - _log_cosh(x / 2)
    return torch.sinh((x - low) / 2) / math.sinh((high - low) / 2) * log_cosh_ratio.exp()


def _log_cosh(x: Tensor) -> Tensor:
    return x.abs() + torch.log1p(torch.exp(-2 * x.abs()))


def _per_sample(t: Tensor, like: Tensor) -> Tensor:
    """Returns `t` `[B]` as `[B, 1, ...]`, with the dtype, device and number of axes of `like`."""
    return t.to(like).view(-1, *[1] * (like.ndim - 1))
