"""Runs whose sigmas a wrapper around the host's sampling gives it piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any
from unittest import mock

import comfy.sampler_helpers
import nodes
import torch
from comfy.model_patcher import ModelPatcher
from scenarios import world
from scenarios.audio import latent
from torch import Tensor

T, H, W = 3, 4, 4


class _Pieces:
    """An OUTER_SAMPLE wrapper that samples from one of `cuts` to the next."""

    def __init__(self, cuts: list[int]) -> None:
        self._cuts = cuts

    def __call__(
        self,
        executor: Any,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        for first, last in pairwise([0, *self._cuts, len(sigmas) - 1]):
            latent_image = executor(
                noise, latent_image, sampler, sigmas[first : last + 1], *args, **kwargs
            )
            # What a piece ends with is the noisy latent; the next one adds no noise to it.
            noise = torch.zeros_like(noise)
        return latent_image


def _twice(executor: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Two videos one after the other, over all sigmas, as a sampler in tiles."""
    executor(*args, **kwargs)
    return executor(*args, **kwargs)


class _Another:
    """Samples sigmas of its own in the place of those that it is given."""

    def __init__(self, sigmas: Tensor) -> None:
        self._sigmas = sigmas

    def __call__(
        self,
        executor: Any,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        return executor(noise, latent_image, sampler, self._sigmas, *args, **kwargs)


def _wrapped(wrapper: Callable | None, order: str) -> ModelPatcher:
    """A patched model with `wrapper` around our own, or inside of it, or none."""
    model = world.mini_model()
    if order == "inside":
        model = world.patched(model)
    if wrapper is not None:
        model.add_wrapper_with_key("outer_sample", "test_pieces", wrapper)
    return model if order == "inside" else world.patched(model)


def _run(model: ModelPatcher, video: dict[str, Any], steps: int, **inputs: Any) -> dict[str, Any]:
    recorder, estimated = world.Recorder(), []
    estimate = comfy.sampler_helpers.estimate_memory

    def spy(patcher: Any, noise_shape: Any, conds: Any) -> Any:
        estimated.append(list(noise_shape))
        return estimate(patcher, noise_shape, conds)

    guider = world.three_streams(recorder.record(model), world.latent([1, 128, 1, H, W]), **inputs)
    with mock.patch.object(comfy.sampler_helpers, "estimate_memory", spy):
        output = world.run_guider(guider, video, steps=steps)
    calls = [
        [float(call["timestep"].max()), call["video"].shape[2]]
        for call in recorder.calls
        for _ in range(len(call["video"]))
    ]
    parts = output.unbind() if output.is_nested else [output]
    return {
        "parts": [part.clone() for part in parts],
        "calls": calls,
        "estimated": estimated,
    }


def _compare(
    wrapper: Callable, order: str, video: dict[str, Any], steps: int, **inputs: Any
) -> Any:
    return {
        "pieces": _run(_wrapped(wrapper, order), video, steps, **inputs),
        "whole": _run(_wrapped(None, order), video, steps, **inputs),
    }


def cut(cuts: list[int], order: str, with_audio: bool, steps: int, **inputs: Any) -> dict[str, Any]:
    video = latent() if with_audio else world.empty_video(T, H, W)
    return _compare(_Pieces(cuts), order, video, steps, **inputs)


def twice(order: str, steps: int, **inputs: Any) -> dict[str, Any]:
    video = world.empty_video(T, H, W)
    guider = world.three_streams(_wrapped(_twice, order), world.latent([1, 128, 1, H, W]), **inputs)
    world.run_guider(guider, video, steps=steps)
    return _compare(_twice, order, video, steps, **inputs) | {
        "again": world.run_guider(guider, video, steps=steps)
    }


def another_schedule(order: str, steps: int, own_steps: int, **inputs: Any) -> dict[str, Any]:
    """A wrapper that takes `own_steps`, and a run of so many steps without it."""
    video = world.empty_video(T, H, W)
    wrapper = _Another(world.sigmas(own_steps))
    return {
        "pieces": _run(_wrapped(wrapper, order), video, steps, **inputs),
        "whole": _run(_wrapped(None, order), video, own_steps, **inputs),
    }


def audio_normalizing(factors: str, order: str, steps: int, **inputs: Any) -> dict[str, Any]:
    """KJNodes' own node, which `kjnodes.load` has loaded, and the same run without it.

    It goes on from each piece's clean estimate with the run's own noise. After the first step alone
    that is where the run without it is, too.
    """
    node = nodes.NODE_CLASS_MAPPINGS["LTX2AudioLatentNormalizingSampling"]

    def normalizing(model: ModelPatcher) -> ModelPatcher:
        return node.execute(model, factors).result[0]

    model = world.mini_model()
    model = world.patched(normalizing(model)) if order == "around" else normalizing(world.patched())
    return {
        "pieces": _run(model, latent(), steps, **inputs),
        "whole": _run(world.patched(), latent(), steps, **inputs),
    }
