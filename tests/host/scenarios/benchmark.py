"""One guided step, ours and others': its time, that of its bare forwards, and its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any
from unittest import mock

import comfy.model_management
import comfy.samplers
import comfy.supported_models
import torch
from comfy.ldm.modules import attention
from comfy.model_patcher import ModelPatcher
from scenarios import world
from scenarios.bfs import identity_transfer
from scenarios.measuring import Stopwatch, on_gpu, one_thread, timed, with_peak_memory
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
# BFS has the reference on both sides of its CFG, and adds (g - 1)(vyr - vy): s_r = CFG + g - 1.
BFS_CFG, BFS_REFERENCE_GUIDANCE = 4.0, 3.0
BFS_LAYOUT, OUR_LAYOUT = "overlap", "overlap_source_phase"

Measure = Callable[[Callable[[], Tensor]], tuple[Tensor, float]]


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


class _Bench:
    """A random model, its prompts, and guided steps on them."""

    def __init__(self, source: ModelPatcher, prompt_tokens: int) -> None:
        self.source = source
        self.stopwatch = Stopwatch()
        self.model = self._watched(world.patched(source))
        width = source.model.diffusion_model.cross_attention_dim * 3 // 2
        self.text, self.empty = (
            [[world.latent([1, prompt_tokens, width], seed=seed), {"frame_rate": 24.0}]]
            for seed in (1, 2)
        )

    def ours(self, grid: list[int], num_references: int = 1, **scales: float) -> Step:
        reference = world.latent([num_references, 128, 1, *grid[1:]])
        return Step(self, self._three_streams(self.model, reference, **scales), grid)

    def dual_cfg(self, grid: list[int]) -> Step:
        """Core's guider, whose "regular" style is Eq. 13, on the very same tokens."""
        reference = {"samples": world.latent([1, 128, 1, *grid[1:]])}
        (both,) = world.node("ReferenceLatent", conditioning=self.text, latent=reference)
        (guider,) = world.node(
            "DualCFGGuider",
            model=self.model,
            cond1=both,
            cond2=self.text,
            negative=self.empty,
            cfg_conds=7.5,
            cfg_cond2_negative=5.0,
            style="regular",
        )
        return Step(self, guider, grid)

    def bfs_and_ours(self, grid: list[int], folder: str) -> dict[str, Step]:
        """BFS's node with its reference guidance, and ours in its layout, on the same reference."""
        transformer = self.source.model.diffusion_model
        before = set(vars(transformer))
        height, width = (32 * steps for steps in grid[1:])
        photo = torch.rand((1, height, width, 3), generator=torch.Generator().manual_seed(0))
        model, positive, negative, *_ = identity_transfer(folder).apply(
            self.source,
            self.text,
            self.empty,
            world.mini_vae(),
            _video(grid),
            photo,
            layout=BFS_LAYOUT,
            reference_guidance_scale=BFS_REFERENCE_GUIDANCE,
        )
        # It leaves its methods on the live model: they are lifted off, and put on for its steps.
        methods = {
            name: vars(transformer).pop(name)
            for name in set(vars(transformer)) - before
            if callable(vars(transformer)[name])
        }
        (spec,) = model.model_options["transformer_options"]["_id_ref_specs"]
        (guider,) = world.node(
            "CFGGuider",
            model=self._watched(model),
            positive=positive,
            negative=negative,
            cfg=BFS_CFG,
        )
        scales = {
            "text_scale": BFS_CFG,
            "reference_scale": BFS_CFG + BFS_REFERENCE_GUIDANCE - 1,
        }
        ours = self._watched(world.patched(self.source, placement=OUR_LAYOUT))
        return {
            "BFS": Step(self, guider, grid, methods),
            "ours as BFS": Step(self, self._three_streams(ours, spec["latent"], **scales), grid),
        }

    def _watched(self, model: ModelPatcher) -> ModelPatcher:
        """Put on after the patch, the stopwatch stands inside it."""
        model.add_wrapper_with_key("diffusion_model", "benchmark", self.stopwatch)
        return model

    def _three_streams(self, model: ModelPatcher, reference: Tensor, **scales: float) -> Any:
        return world.three_streams(
            model, reference, positive=self.text, negative=self.empty, **scales
        )


class Step:
    """One guided step on a video of T x H x W, with `methods` on the transformer."""

    def __init__(
        self, bench: _Bench, guider: Any, grid: list[int], methods: dict[str, Any] | None = None
    ) -> None:
        self._guider, self._grid, self._methods = guider, grid, methods or {}
        self._stopwatch = bench.stopwatch
        self._transformer = bench.source.model.diffusion_model

    def times_s(self) -> tuple[float, float]:
        """Seconds of the step, and of the transformer's forwards in it."""
        return self._measured(timed), self._stopwatch.time_s

    def peak_bytes(self) -> int:
        return int(self._measured(with_peak_memory))

    def _measured(self, measure: Measure) -> float:
        measured = []

        def one_step(
            model: Any, noise: Tensor, sigmas: Tensor, extra_args: Any, **_: Any
        ) -> Tensor:
            sigma = sigmas[0] * noise.new_ones(noise.shape[0])
            self._stopwatch.time_s = 0.0
            denoised, value = measure(lambda: model(noise, sigma, **extra_args))
            measured.append(value)
            return denoised

        video = _video(self._grid)["samples"]
        noise = torch.randn(video.shape, generator=torch.Generator().manual_seed(0))
        sampler = comfy.samplers.KSAMPLER(one_step)
        methods = self._methods
        with mock.patch.multiple(self._transformer, **methods) if methods else nullcontext():
            self._guider.sample(noise, video, sampler, torch.tensor([0.7, 0.0]), seed=0)
        return measured[0]


def _video(grid: list[int]) -> dict[str, Any]:
    return {"samples": torch.zeros(1, 128, *grid)}


def _in_turn(steps: dict[str, Step], rounds: int) -> dict[str, Any]:
    """Of each step `times_s`, of itself and its forwards, and `peak_bytes`; the steps in turn."""
    times_s: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for index in range(rounds + 1):
        # There and back again, so that a drift of the machine's speed meets all alike.
        for name in list(steps)[:: 1 if index % 2 else -1]:
            times_s[name].append(steps[name].times_s())
    return {
        # The first round warms up.
        name: {"times_s": times_s[name][1:], "peak_bytes": step.peak_bytes()}
        for name, step in steps.items()
    }


def guided_steps(
    num_layers: int,
    num_heads: int,
    head_dim: int,
    dtype: str,
    grid: list[int],
    rounds: int,
    prompt_tokens: int,
    num_references: Iterable[int],
    num_frames: Iterable[int],
    scan_rounds: int,
    bfs: str | None,
) -> dict[str, Any]:
    """`variants` of a step on `grid`, then one of ours over `num_references` and `num_frames`.

    `grid` is the video's T x H x W in latent steps, `num_frames` of 8 n + 1 are other lengths of
    it, in frames; `bfs` is the folder of BFS's nodes, None leaves them out.
    """
    bench = _Bench(_random_model(num_layers, head_dim, num_heads, dtype), prompt_tokens)
    variants = {name: bench.ours(grid, **scales) for name, scales in VARIANTS.items()}
    variants["DualCFGGuider"] = bench.dual_cfg(grid)
    if bfs is not None:
        variants |= bench.bfs_and_ours(grid, bfs)
    default = VARIANTS["default"]
    references = {str(each): bench.ours(grid, each, **default) for each in num_references}
    lengths = {
        str(each): bench.ours([(each - 1) // 8 + 1, *grid[1:]], **default) for each in num_frames
    }
    with nullcontext() if on_gpu() else one_thread():
        measured = {
            "variants": _in_turn(variants, rounds),
            "num_references": _in_turn(references, scan_rounds),
            "num_frames": _in_turn(lengths, scan_rounds),
        }
    return {
        **measured,
        "num_parameters": sum(p.numel() for p in bench.source.model.parameters()),
        "device": torch.cuda.get_device_name() if on_gpu() else "cpu",
        "attention": attention.optimized_attention.__name__,
    }
