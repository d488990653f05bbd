"""What the host is told before a run, sees during it, and is left with after it."""

from __future__ import annotations

import gc
import weakref
from typing import Any
from unittest import mock

import comfy.model_management
import comfy.sampler_helpers
import comfy.utils
import latent_preview
import psutil
import torch
from scenarios import world
from torch import Tensor

T, H, W = 3, 4, 4


def _guider(model: Any, reference: bool = True, **inputs: Any) -> Any:
    prompts = {
        "positive": world.text_conditioning(model, 1),
        "negative": world.text_conditioning(model, 2),
    } | inputs
    if reference:
        return world.three_streams(model, world.latent([1, 128, 1, H, W]), **prompts)
    return world.node("CFGGuider", model=model, cfg=5.0, **prompts)[0]


def memory_estimates() -> dict[str, list[int]]:
    """The latent shapes that the host's memory estimate is made for."""
    estimated = []
    original = comfy.sampler_helpers.estimate_memory

    def spy(model: Any, noise_shape: Any, conds: Any) -> Any:
        estimated.append(list(noise_shape))
        return original(model, noise_shape, conds)

    def windowed(model: Any) -> Any:
        return world.node(
            "ContextWindowsManual",
            model=model,
            context_length=2,
            context_overlap=1,
            context_schedule="standard_static",
            dim=2,
        )[0]

    video = world.empty_video(T, H, W)
    (audio_and_video,) = world.node(
        "LTXVConcatAVLatent",
        video_latent=video,
        audio_latent={"samples": torch.zeros(1, 8, 12, 16)},
    )
    model = world.mini_model()
    runs = {
        "unpatched": (_guider(model, reference=False), video),
        "patched_without": (_guider(world.patched(model), reference=False), video),
        "with_reference": (_guider(world.patched(model)), video),
        "windows_after_patch": (_guider(windowed(world.patched(model))), video),
        "patch_after_windows": (_guider(world.patched(windowed(model))), video),
        "audio_and_video": (_guider(model, reference=False), audio_and_video),
        "audio_and_video_with_reference": (_guider(world.patched(model)), audio_and_video),
        "ltx_video": (_guider(world.patched(world.tiny_ltxv(causal=True))), video),
    }
    shapes = {}
    with mock.patch.object(comfy.sampler_helpers, "estimate_memory", spy):
        for name, (guider, latent) in runs.items():
            world.run_guider(guider, latent, steps=1)
            shapes[name] = estimated[-1]
    return shapes


def memory_of_a_step() -> dict[str, float]:
    """Bytes that the host asks for, for a video with a reference, and with one audio token too."""
    asked: list[float] = []
    original = comfy.sampler_helpers.estimate_memory

    def spy(model: Any, noise_shape: Any, conds: Any) -> Any:
        asked.append(original(model, noise_shape, conds)[0])
        return original(model, noise_shape, conds)

    video = world.empty_video(T, H, W)
    (with_audio,) = world.node(
        "LTXVConcatAVLatent",
        video_latent=video,
        audio_latent={"samples": torch.zeros(1, 8, 1, 16)},
    )
    with mock.patch.object(comfy.sampler_helpers, "estimate_memory", spy):
        for latent in (video, with_audio):
            world.run_guider(_guider(world.patched()), latent, steps=1)
    return dict(zip(("alone", "with_audio"), asked, strict=True))


class StopSampling(Exception):  # noqa: N818 (a signal, as StopIteration)
    """An error in the middle of sampling."""


def _snapshot(model: Any) -> dict[str, Any]:
    """Everything a run could leave behind on the shared model, in comparable form."""
    transformer = model.model.diffusion_model
    return {
        "model": sorted(model.model.__dict__),
        "transformer": sorted(transformer.__dict__),
        "methods": [key for key, value in transformer.__dict__.items() if callable(value)],
        "hooks": [
            len(module._forward_hooks) + len(module._forward_pre_hooks)
            for module in transformer.modules()
        ],
        "options": repr(model.model_options),
        "wrappers": repr({kind: sorted(keys) for kind, keys in model.wrappers.items()}),
        "object_patches": sorted(model.object_patches),
        "weights": [float(p.double().sum()) for p in transformer.parameters()],
    }


def left_behind(end: str) -> dict[str, Any]:
    """The model before and after a run that ends well, in an error, or in an interrupt.

    The guider keeps its direction for three steps; a run after this one may not find it.
    """
    model = world.patched()
    guider = _guider(model, reference_every=3)
    world.run_guider(_guider(world.mini_model(), reference=False), world.empty_video(T, H, W))
    before, keys_before = _snapshot(model), sorted(guider.__dict__)

    def callback(step: int, *_: Any) -> None:
        if step == 1 and end == "error":
            raise StopSampling
        if step == 1 and end == "interrupt":
            comfy.model_management.interrupt_current_processing(True)

    raised = ""
    try:
        with mock.patch.object(latent_preview, "prepare_callback", lambda *_: callback):
            world.run_guider(guider, world.empty_video(T, H, W), steps=4)
    except (StopSampling, comfy.model_management.InterruptProcessingException) as error:
        raised = type(error).__name__
    finally:
        comfy.model_management.interrupt_current_processing(False)
    after = {"before": before, "after": _snapshot(model), "raised": raised}
    after["guider_before"], after["guider_after"] = keys_before, sorted(guider.__dict__)
    again = world.run_guider(guider, world.empty_video(T, H, W))
    other = _guider(world.patched(), reference_every=3)
    fresh = world.run_guider(other, world.empty_video(T, H, W))
    return after | {"again": again, "fresh": fresh}


def model_can_be_freed(end: str) -> dict[str, bool]:
    """The guider stays (as in the node cache) while the host unloads and drops its model."""
    model = world.tiny_ltxv(causal=True)
    inner = weakref.ref(model.model)
    patched = world.patched(model)
    guider = _guider(patched)
    finished = True

    def callback(step: int, *_: Any) -> None:
        if end == "error":
            raise StopSampling

    try:
        with mock.patch.object(latent_preview, "prepare_callback", lambda *_: callback):
            world.run_guider(guider, world.empty_video(T, H, W))
    except StopSampling:
        finished = False
    guider_holds_run = {"inner_model", "loaded_models", "conds"} & set(guider.__dict__)
    comfy.model_management.unload_all_models()
    del model, patched, guider
    gc.collect()
    return {
        "finished": finished,
        "freed": inner() is None,
        "guider_holds_run": bool(guider_holds_run),
    }


def many_runs(count: int) -> dict[str, Any]:
    """Resident memory and live tensors over many runs in one process."""
    process = psutil.Process()
    model, video = world.patched(), world.empty_video(T, H, W)

    def run() -> None:
        world.run_guider(_guider(model), video, steps=2)

    def num_tensors() -> int:
        gc.collect()
        return sum(isinstance(item, Tensor) for item in gc.get_objects())

    for _ in range(10):
        run()
    tensors, resident = num_tensors(), process.memory_info().rss
    for _ in range(count):
        run()
    return {
        "num_tensors": [tensors, num_tensors()],
        "resident_bytes": [resident, process.memory_info().rss],
    }


def progress(preview_method: str) -> dict[str, Any]:
    """Progress and previews of our sampler node and of core's SamplerCustom on one model."""
    model = world.tiny_ltxv(causal=True)
    prompts = {
        "positive": world.text_conditioning(model, 1),
        "negative": world.text_conditioning(model, 2),
    }
    events: list[list[Any]] = []

    # Before the host's progress bar drops those that follow one another too quickly.
    def spy(bar: Any, value: int, total: int | None = None, preview: Any = None) -> None:
        size = list(preview[1].size) if preview is not None else None
        events.append([value, total, size])
        original(bar, value, total, preview)

    original = comfy.utils.ProgressBar.update_absolute

    common = {
        "noise_seed": 3,
        "sampler": world.sampler(),
        "sigmas": world.sigmas(4),
        "latent_image": world.empty_video(T, H, W),
    } | prompts
    seen = {}
    latent_preview.set_preview_method(preview_method)
    try:
        with mock.patch.object(comfy.utils.ProgressBar, "update_absolute", spy):
            world.node("SamplerCustom", model=model, add_noise=True, cfg=5.0, **common)
            seen["core"], events[:] = list(events), []
            world.node(
                "STDRCThreeStreamSampler",
                model=world.patched(model),
                reference={"samples": world.latent([1, 128, 1, H, W])},
                **common,
            )
            seen["ours"] = list(events)
    finally:
        latent_preview.set_preview_method("default")
    return seen
