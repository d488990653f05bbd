"""Times of one guided step: ours, its bare forwards, core's DualCFGGuider; all in one process."""

from __future__ import annotations

import time
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


class StepTimer:
    """A sampler that only times: one step to warm up, then `num_steps` at the same sigma."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self.times_s: list[float] = []

    def __call__(
        self, model, noise, sigmas, extra_args=None, callback=None, disable=None
    ) -> Tensor:
        sigma = sigmas[0] * noise.new_ones(noise.shape[0])
        denoised = model(noise, sigma, **extra_args)
        for _ in range(self.num_steps):
            self.times_s.append(_timed(lambda: model(noise, sigma, **extra_args)))
        return denoised


def _timed(run: Any) -> float:
    _synchronize()
    start = time.perf_counter()
    run()
    _synchronize()
    return time.perf_counter() - start


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _step_time_s(guider: Any, video: dict[str, Any], num_steps: int) -> float:
    timer = StepTimer(num_steps)
    noise = torch.randn(video["samples"].shape, generator=torch.Generator().manual_seed(0))
    guider.sample(
        noise, video["samples"], comfy.samplers.KSAMPLER(timer), torch.tensor([0.7, 0.0]), seed=0
    )
    return min(timer.times_s)


class _Forwards:
    """A wrapper inside the patch that keeps the transformer's inputs, to run them again bare."""

    def __init__(self) -> None:
        self.inputs: list[tuple[tuple, dict]] = []

    def __call__(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        self.inputs.append((args, kwargs))
        return executor(*args, **kwargs)


def _bare_time_s(model: ModelPatcher, guider: Any, video: dict[str, Any], num_steps: int) -> float:
    """The least summed time of the forwards of one default step, without host or guider."""
    forwards = _Forwards()
    model.add_wrapper_with_key("diffusion_model", "benchmark", forwards)
    _step_time_s(guider, video, 1)
    model.remove_wrappers_with_key("diffusion_model", "benchmark")
    one_step = forwards.inputs[: len(forwards.inputs) // 2]
    transformer = model.model.diffusion_model

    def run() -> None:
        for args, kwargs in one_step:
            transformer._forward(*args, **kwargs)

    run()
    return min(_timed(run) for _ in range(num_steps))


def guided_steps(
    num_layers: int,
    num_heads: int,
    head_dim: int,
    dtype: str,
    grid: list[int],
    rounds: int,
    num_steps: int,
    prompt_tokens: int,
) -> dict[str, Any]:
    """Seconds of one step per round and variant, the variants in turn within each round."""
    source = _random_model(num_layers, head_dim, num_heads, dtype)
    model = world.patched(source)
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
    times_s: dict[str, list[float]] = {name: [] for name in (*guiders, "bare forwards")}
    for _ in range(rounds):
        for name, guider in guiders.items():
            times_s[name].append(_step_time_s(guider, video, num_steps))
        times_s["bare forwards"].append(_bare_time_s(model, guiders["default"], video, num_steps))
    on_gpu = torch.cuda.is_available()
    return {
        "times_s": times_s,
        "num_parameters": sum(p.numel() for p in source.model.parameters()),
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if on_gpu else 0,
    }
