"""Distilled weights in the graph: what runs, what is said, and the clip."""

from __future__ import annotations

import logging
from typing import Any

import nodes
from scenarios import world
from torch import Tensor


class _Log(logging.Handler):
    """The warnings of the pack while it is open."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self._logger = logging.getLogger(world.pack("nodes.guidance_inputs").__name__)

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())

    def __enter__(self) -> _Log:
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: Any) -> None:
        self._logger.removeHandler(self)


def _model(*paths: str) -> Any:
    """The miniature with these LoRAs, from a workflow whose loaders stand before the patch."""
    model = world.mini_model()
    for path in paths:
        model = world.with_lora(model, path)
    choice = world.pack("stdrc_core.ltx.reference_layout").LayoutChoice(
        lora_files=tuple(path.rpartition("/")[2] for path in reversed(paths))
    )
    return world.pack("nodes.host.wrapper").patch_model(model, choice)


def clip(
    loras: list[str],
    photo: Tensor,
    prompt: str,
    num_steps: int,
    seed: int,
    **guidance: Any,
) -> dict[str, Any]:
    """The frames `[F, h, w, 3]`, how many forwards were made, and what was warned of."""
    recorder = world.Recorder()
    model = _model(*loras)
    video = world.node("EmptyLTXVLatentVideo", width=64, height=64, length=9, batch_size=1)[0]
    (reference,) = world.node(
        "STDRCEncodeReference", image=photo, vae=world.mini_vae(), latent=video
    )[:1]
    if "text_curve" in guidance:
        (guidance["text_curve"],) = world.node("STDRCGuidanceCurve", **guidance["text_curve"])
    with _Log() as log:
        guider = world.three_streams(
            recorder.record(model),
            reference["samples"],
            positive=world.conditioning(prompt),
            negative=world.conditioning(""),
            **guidance,
        )
        output, _ = world.node(
            "SamplerCustomAdvanced",
            noise=world.node("RandomNoise", noise_seed=seed)[0],
            guider=guider,
            sampler=world.sampler("euler"),
            sigmas=world.node("LTXVScheduler", steps=num_steps, latent=video)[0],
            latent_image=video,
        )
    key = "diffusion_model.adaln_single.emb.timestep_embedder.linear_2.bias"
    return {
        "frames": nodes.VAEDecode().decode(world.mini_vae(), output)[0],
        "num_rows": sum(len(call["video"]) for call in recorder.calls),
        "said": log.said,
        "patches_left": key in model.patches,
    }


def report(loras: list[str], **guidance: Any) -> str:
    """What Inspect References says."""
    video = world.empty_video(2, 2, 2)
    reference = {"samples": world.latent([1, 128, 1, 2, 2])}
    return world.node(
        "STDRCInspect",
        model=_model(*loras),
        positive=world.conditioning("a man runs"),
        negative=world.conditioning(""),
        reference=reference,
        latent_image=video,
        **guidance,
    )[0]
