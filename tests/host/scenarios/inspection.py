"""Inspect References on setups that are right, and on ones that are not."""

from __future__ import annotations

from typing import Any

import torch
from scenarios import world
from scenarios.mistakes import not_ltx_model
from scenarios.references import reference_list
from torch import Tensor

T, H, W = 3, 4, 4


def report(
    entries: list[dict[str, Any]] | None = None,
    model: str = "patched",
    height: int = H,
    guides: list[int] | None = None,
    lora: str | None = None,
    curves: dict[str, dict[str, Any]] | None = None,
    **inputs: Any,
) -> str:
    reference = reference_list(entries or [{"photo": 0}])
    models = {
        "patched": lambda: world.patched(
            world.with_lora(world.mini_model(), lora) if lora else None,
            placement=inputs.pop("placement", "auto"),
        ),
        "unpatched": world.mini_model,
        "flux": not_ltx_model,
        "bfs": lambda: _with_bfs(world.patched()),
    }
    positive, negative, video = world.guides(
        world.empty_video(T, height, W),
        world.conditioning("a man runs"),
        world.conditioning(""),
        guides or [],
    )
    if inputs.pop("without_prompt", False):
        positive = []
    if inputs.pop("with_audio", False):
        video = _with_audio(video)
    (text,) = world.node(
        "STDRCInspect",
        model=models[model](),
        positive=positive,
        negative=negative,
        reference=reference,
        latent_image=video,
        **inputs,
        **_curves(curves),
    )
    return text


def _with_audio(video: dict[str, Any]) -> dict[str, Any]:
    audio = {"samples": torch.zeros(1, 8, 12, 16)}
    return world.node("LTXVConcatAVLatent", video_latent=video, audio_latent=audio)[0]


def tokens_that_ran(entries: list[dict[str, Any]], **scales: float) -> list[int]:
    """Tokens of each stream of one step of the guider, by what the transformer was given."""
    recorder = world.Recorder()
    guider = world.three_streams(
        recorder.record(world.patched()), reference_list(entries), **scales
    )
    world.run_guider(guider, world.empty_video(T, H, W), steps=1)
    shapes = [call["video"].shape for call in recorder.calls]
    return sorted(shape[2] * H * W for shape in shapes for _ in range(shape[0]))


def calls_of_a_run(
    entries: list[dict[str, Any]],
    sigmas: Tensor,
    curves: dict[str, dict[str, Any]] | None = None,
    with_audio: bool = False,
    **inputs: Any,
) -> list[list[float]]:
    """Of each video that the transformer was given in a run: its sigma, and its tokens."""
    recorder = world.Recorder()
    guider = world.three_streams(
        recorder.record(world.patched()), reference_list(entries), **inputs, **_curves(curves)
    )
    video = world.empty_video(T, H, W)
    world.node(
        "SamplerCustomAdvanced",
        noise=world.node("RandomNoise", noise_seed=3)[0],
        guider=guider,
        sampler=world.sampler(),
        sigmas=sigmas,
        latent_image=_with_audio(video) if with_audio else video,
    )
    return [
        [float(call["timestep"].max()), call["video"].shape[2] * H * W]
        for call in recorder.calls
        for _ in range(call["video"].shape[0])
    ]


def _curves(curves: dict[str, dict[str, Any]] | None) -> dict[str, Any]:
    return {
        name: world.node("STDRCGuidanceCurve", **options)[0]
        for name, options in (curves or {}).items()
    }


def _with_bfs(model: Any) -> Any:
    """As BFS's node leaves it: its references among the transformer's options."""
    options = {**model.model_options.get("transformer_options", {}), "_id_ref_specs": [{}]}
    model.model_options = {**model.model_options, "transformer_options": options}
    return model
