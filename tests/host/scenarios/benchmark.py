"""Times of one guided step: ours, its bare forwards, core's DualCFGGuider; all in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from scenarios import world
from torch import Tensor

# The switches of LTX-2.3; sizes come from the preset.
SWITCHES = {
    "image_model": "ltxav",
    "apply_gated_attention": True,
    "cross_attention_adaln": True,
    "caption_proj_before_connector": True,
    "caption_projection_first_linear": False,
    "connector_apply_gated_attention": True,
    "rope_type": "split",
    "frequencies_precision": "float64",
    "use_middle_indices_grid": True,
    "causal_temporal_positioning": True,
}
VARIANTS = {
    "default": {"text_scale": 5.0, "reference_scale": 7.5},
    "s_y = s_r": {"text_scale": 5.0, "reference_scale": 5.0},
    "s_y = 1": {"text_scale": 1.0, "reference_scale": 7.5},
    "s_y = s_r = 1": {"text_scale": 1.0, "reference_scale": 1.0},
}


def _random_model(num_layers: int, head_dim: int, num_heads: int, dtype: str) -> ModelPatcher:
    """An LTX-2.3 of any size, made on the device that it runs on."""
    device = comfy.model_management.get_torch_device()
    config = comfy.supported_models.LTXAV(
        SWITCHES
        | {
            "num_layers": num_layers,
            "num_attention_heads": num_heads,
            "attention_head_dim": head_dim,
            "cross_attention_dim": num_heads * head_dim,
            "audio_num_attention_heads": num_heads,
            "audio_attention_head_dim": head_dim // 2,
            "audio_cross_attention_dim": num_heads * head_dim // 2,
            "connector_num_attention_heads": num_heads,
            "connector_attention_head_dim": head_dim,
            "audio_connector_attention_head_dim": head_dim // 2,
        }
    )
    config.set_inference_dtype(getattr(torch, dtype), None)
    model = config.get_model({}, device=device)
    generator = torch.Generator(device).manual_seed(0)
    for parameter in model.parameters():
        scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.02
        parameter.normal_(generator=generator).mul_(scale)
    return ModelPatcher(model, device, device)


class Stopwatch:
    """A DIFFUSION_MODEL wrapper inside the patch: sums the time of the bare forwards."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def __call__(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        output, time_s = _timed(lambda: executor(*args, **kwargs))
        self.time_s += time_s
        return output


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    _synchronize()
    start = time.perf_counter()
    result = run()
    _synchronize()
    return result, time.perf_counter() - start


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _time_step(guider: Any, video: dict[str, Any], stopwatch: Stopwatch) -> tuple[float, float]:
    """Seconds of one guided step, and of the transformer's forwards in it."""
    times_s = []

    def one_step(model: Any, noise: Tensor, sigmas: Tensor, extra_args: Any, **_: Any) -> Tensor:
        sigma = sigmas[0] * noise.new_ones(noise.shape[0])
        stopwatch.time_s = 0.0
        denoised, step_time_s = _timed(lambda: model(noise, sigma, **extra_args))
        times_s.append(step_time_s)
        return denoised

    noise = torch.randn(video["samples"].shape, generator=torch.Generator().manual_seed(0))
    sampler = comfy.samplers.KSAMPLER(one_step)
    guider.sample(noise, video["samples"], sampler, torch.tensor([0.7, 0.0]), seed=0)
    return times_s[0], stopwatch.time_s


def guided_steps(
    num_layers: int,
    num_heads: int,
    head_dim: int,
    dtype: str,
    grid: list[int],
    rounds: int,
    prompt_tokens: int,
) -> dict[str, Any]:
    """Seconds of one step and of its forwards, per variant and round, the variants in turn."""
    if not torch.cuda.is_available():
        # On few and shared cores, threads that wait for one another are most of the noise.
        torch.set_num_threads(1)
    source = _random_model(num_layers, head_dim, num_heads, dtype)
    model = world.patched(source)
    stopwatch = Stopwatch()
    model.add_wrapper_with_key("diffusion_model", "benchmark", stopwatch)
    num_frames, height, width = grid
    video = {"samples": torch.zeros(1, 128, num_frames, height, width)}
    reference = world.latent([1, 128, 1, height, width])
    context_dim = num_heads * head_dim * 3 // 2
    text, empty = (
        [[world.latent([1, prompt_tokens, context_dim], seed=seed), {"frame_rate": 24.0}]]
        for seed in (1, 2)
    )
    guiders = {
        name: world.three_streams(model, reference, positive=text, negative=empty, **scales)
        for name, scales in VARIANTS.items()
    }
    (both,) = world.node("ReferenceLatent", conditioning=text, latent={"samples": reference})
    (guiders["DualCFGGuider"],) = world.node(
        "DualCFGGuider",
        model=model,
        cond1=both,
        cond2=text,
        negative=empty,
        cfg_conds=7.5,
        cfg_cond2_negative=5.0,
        style="regular",
    )
    times_s: dict[str, list[tuple[float, float]]] = {name: [] for name in guiders}
    for index in range(rounds + 1):
        # There and back again, so that a drift of the machine's speed meets all alike.
        for name in list(guiders)[:: 1 if index % 2 else -1]:
            times_s[name].append(_time_step(guiders[name], video, stopwatch))
    on_gpu = torch.cuda.is_available()
    return {
        # The first round warms up.
        "times_s": {name: times[1:] for name, times in times_s.items()},
        "num_parameters": sum(p.numel() for p in source.model.parameters()),
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if on_gpu else 0,
    }
