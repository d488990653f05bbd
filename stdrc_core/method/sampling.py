"""Sampling with three streams and without a host: LTX's sigmas, and Euler steps along Eq. 13."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from .flow import clean_estimate, resolution_shift
from .guidance import rescale
from .guidance_options import GuidanceOptions
from .guided_run import Forwards, GuidedRun, Predictions

# LTX's own value for the last sigma before 0.
DEFAULT_TERMINAL = 0.1
# The shift with which ComfyUI turns a point of an LTX model's sampling into a sigma.
_PERCENT_SHIFT = 2.37

# The model: (noisy video [B, C, T, H, W], t [B], context [B, L, D],
# reference [B, C, K, H, W] or None) -> velocity [B, C, T, H, W].
Velocity = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def sigma_schedule(
    num_steps: int, num_tokens: int = 4096, *, terminal: float | None = DEFAULT_TERMINAL
) -> Tensor:
    """Returns LTX's sigmas from 1 to 0, `[num_steps + 1]` float32, as ComfyUI's LTXVScheduler does.

    Even steps are shifted towards noise by the number of tokens (`flow.resolution_shift`), and then
    stretched so that the last sigma before 0 is `terminal`; None leaves out the stretch. Raises
    ValueError for fewer than 1 step and for a terminal outside (0, 1).
    """
    if num_steps < 1:
        raise ValueError(f"num_steps was {num_steps}; it needs to be at least 1.")
    if terminal is not None and not 0 < terminal < 1:
        raise ValueError(f"terminal was {terminal}; it needs to be between 0 and 1, or None.")
    even = torch.linspace(1, 0, num_steps + 1, dtype=torch.float64)[:-1]
    shift = math.exp(resolution_shift(num_tokens))
    sigmas = shift / (shift + (1 / even - 1))
    # The one sigma of a single step is 1, and the stretch would divide by 0.
    if terminal is not None and num_steps > 1:
        distance = 1 - sigmas
        sigmas = 1 - distance * (1 - terminal) / distance[-1]
    return torch.cat((sigmas.float(), torch.zeros(1)))


def schedule_from(start: float, sigmas: Tensor) -> Tensor:
    """Returns what is left of a falling schedule at the sigma `start`: `start` and all below it.

    Raises ValueError for a start outside (0, 1].
    """
    if not 0 < start <= 1:
        raise ValueError(f"start was {start}; it needs to be above 0 and at most 1.")
    return torch.cat((sigmas.new_tensor([start]), sigmas[sigmas < start]))


def percent_to_sigma(percent: float) -> float:
    """Returns the sigma at a point of sampling, `percent` in [0, 1], as ComfyUI does for LTX."""
    if percent in (0, 1):
        return 1.0 - percent
    shift = math.exp(_PERCENT_SHIFT)
    return shift / (shift + (1 / (1 - percent) - 1))


def needs_reference(guidance: GuidanceOptions, sigmas: Tensor) -> bool:
    """Returns whether a run over the falling schedule `sigmas` `[N + 1]` needs the reference."""
    return GuidedRun(guidance, percent_to_sigma).needs_reference(sigmas)


@torch.no_grad()
def sample(
    velocity: Velocity,
    noise: Tensor,
    sigmas: Tensor,
    *,
    text: Tensor,
    empty: Tensor,
    reference: Tensor | None,
    guidance: GuidanceOptions,
    first: Tensor | None = None,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Returns the latent `[B, C, T, H, W]` sampled by Euler steps along dz/dt = v of Eq. 13.

    `noise` `[B, C, T, H, W]` is the latent at the first of the falling `sigmas` `[N + 1]`. `text`
    and `empty` `[B, L, D]` are the embeddings of the prompt and of the empty prompt; `reference`
    `[B, C, K, H, W]` are the clean latents of K photos. Streams of weight 0 do not run.

    `first` `[B, C, 1, H, W]` is the video's first latent frame, where it is known: it stays as it
    is in all steps, and `velocity` has to take that frame as clean. `on_step(i, denoised)` is
    called in each step with the estimate of the clean latent.

    Raises ValueError where the guidance needs a reference and there is none.
    """
    if reference is None and needs_reference(guidance, sigmas):
        raise ValueError(
            f"reference is missing and reference_scale was {guidance.reference_scale}; needs the "
            "latent of a photo, or reference_scale 0."
        )
    run = GuidedRun(guidance, percent_to_sigma)

    def guided_velocity(latent: Tensor, sigma: Tensor) -> Tensor:
        t = sigma.to(latent).expand(latent.shape[0])

        def predict(forwards: Forwards) -> Predictions:
            v0 = velocity(latent, t, empty, None) if forwards.empty else None
            vy = velocity(latent, t, text, None) if forwards.text else None
            return (
                v0,
                vy,
                [velocity(latent, t, text, reference) for _ in range(forwards.num_references)],
            )

        def rescaled(guided: Tensor, positive: Tensor, phi: float) -> Tensor:
            clean = (clean_estimate(latent, v, t) for v in (guided, positive))
            return (latent - rescale(*clean, phi)) / sigma.to(latent)

        return run.predict(float(sigma), sigmas, predict, rescale=rescaled)

    latent = noise if first is None else _beginning_with(first, noise)
    for i, (sigma, following) in enumerate(itertools.pairwise(sigmas)):
        guided = guided_velocity(latent, sigma)
        if first is not None:
            guided = _beginning_with(torch.zeros_like(first), guided)
        if on_step is not None:
            on_step(i, latent - sigma.to(latent) * guided)
        latent = latent + (following - sigma).to(latent) * guided
    return latent


def _beginning_with(first: Tensor, video: Tensor) -> Tensor:
    """Returns the video with `first` in the place of its first latent frame."""
    return torch.cat((first.to(video), video[:, :, 1:]), dim=2)
