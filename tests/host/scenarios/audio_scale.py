"""Audio guided by a scale of its own, beside core's own guiders and sums of core's own streams."""

from __future__ import annotations

from typing import Any

import comfy.nested_tensor
import nodes
import torch
from scenarios import world
from scenarios.audio import latent
from torch import Tensor

T, H, W = 3, 4, 4


def photo() -> Tensor:
    return world.latent([1, 128, 1, H, W])


def has_node(node_id: str) -> bool:
    return node_id in nodes.NODE_CLASS_MAPPINGS


def _parts(output: Any) -> list[Tensor]:
    return [part.clone() for part in output.unbind()]


def ours(steps: int = 3, **inputs: Any) -> dict[str, Any]:
    """A run of our guider on audio and video: [video, audio], and the sizes of each forward."""
    recorder = world.Recorder()
    guider = world.three_streams(recorder.record(world.patched()), photo(), **inputs)
    return {
        "parts": _parts(world.run_guider(guider, latent(), steps=steps)),
        "frames": [
            call["video"].shape[2] for call in recorder.calls for _ in range(len(call["video"]))
        ],
    }


def by_sampler_node(**inputs: Any) -> list[Tensor]:
    output, _ = world.node(
        "STDRCThreeStreamSampler",
        model=world.patched(),
        positive=world.conditioning("a man runs"),
        negative=world.conditioning(""),
        reference={"samples": photo()},
        noise_seed=3,
        sampler=world.sampler(),
        sigmas=world.sigmas(3),
        latent_image=latent(),
        **inputs,
    )
    return _parts(output["samples"])


def _conditions() -> dict[str, list]:
    text = world.conditioning("a man runs")
    (both,) = world.node("ReferenceLatent", conditioning=text, latent={"samples": photo()})
    return {"empty": world.conditioning(""), "text": text, "both": both}


def by_core(video_cfg: float, audio_cfg: float, steps: int) -> list[Tensor]:
    """Core's guider with two scales, whose one condition is the text with the reference."""
    conditions = _conditions()
    (guider,) = world.node(
        "LTXVDualCFGGuider",
        model=world.patched(),
        positive=conditions["both"],
        negative=conditions["empty"],
        video_cfg=video_cfg,
        audio_cfg=audio_cfg,
    )
    return _parts(world.run_guider(guider, latent(), steps=steps))


def by_hand(
    s_y: list[float],
    s_r: list[float],
    s_a: list[float],
    apart: list[bool],
    every: int = 1,
    phi: float = 0.0,
) -> list[Tensor]:
    """Euler steps on sums of core's own streams, each by its CFG guider at scale 1.

    In a step that is not `apart` vyr is the one condition of both. In one that is, the audio is
    guided by vy, and vyr - vy is computed in each `every`-th of these steps.
    """
    conditions, model = _conditions(), world.patched()
    sigmas = world.sigmas(len(s_y)).tolist()
    (noise,) = world.node("RandomNoise", noise_seed=3)
    now = _parts(noise.generate_noise(latent()))
    direction, num_apart = now[0], 0
    for i, sigma in enumerate(sigmas[:-1]):
        v = {
            name: _velocities(model, positive, conditions["empty"], now, sigma)
            for name, positive in conditions.items()
        }
        if apart[i]:
            if num_apart % every == 0:
                direction = v["both"][0] - v["text"][0]
            num_apart += 1
            push, cond = s_r[i] * direction, v["text"]
            positive = [v["text"][0] + direction, v["text"][1]]
        else:
            push, cond = 0.0, v["both"]
            positive = cond
        guided = [
            v["empty"][0] + s_y[i] * (cond[0] - v["empty"][0]) + push,
            v["empty"][1] + s_a[i] * (cond[1] - v["empty"][1]),
        ]
        for k, x in enumerate(now):
            clean, rich = x - sigma * guided[k], x - sigma * positive[k]
            clean = clean * (phi * rich.std() / clean.std() + 1 - phi)
            now[k] = x + (sigmas[i + 1] - sigma) * (x - clean) / sigma
    return now


def _velocities(
    model: Any, positive: list, negative: list, now: list[Tensor], sigma: float
) -> list[Tensor]:
    """Of one stream: one step to sigma 0 ends at the clean estimate x - sigma v."""
    nested = comfy.nested_tensor.NestedTensor
    (guider,) = world.node("CFGGuider", model=model, positive=positive, negative=negative, cfg=1.0)
    clean = guider.sample(
        nested([x / sigma for x in now]),
        nested([torch.zeros_like(x) for x in now]),
        world.sampler(),
        torch.tensor([sigma, 0.0]),
    )
    return [(x - c.cpu()) / sigma for x, c in zip(now, clean.unbind(), strict=True)]


def hooked(**scales: float) -> dict[str, Any]:
    """One step under a user's CFG function that halves the scale, and a hook behind the CFG."""
    seen = []

    def halved(args: dict[str, Any]) -> Tensor:
        return args["uncond"] + args["cond_scale"] / 2 * (args["cond"] - args["uncond"])

    def post_cfg(args: dict[str, Any]) -> Tensor:
        seen.append(args["cond_scale"])
        return args["denoised"] + 1.0

    model = world.patched()
    model.set_model_sampler_cfg_function(halved)
    model.set_model_sampler_post_cfg_function(post_cfg)
    guider = world.three_streams(model, photo(), **scales)
    return {"parts": _parts(world.run_guider(guider, latent(), steps=1)), "seen": seen}
