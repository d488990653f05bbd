"""Several references in one clip."""

from __future__ import annotations

from typing import Any

import torch
from scenarios import world
from torch import Tensor

T, H, W = 3, 4, 4


def _photo(seed: int) -> dict[str, Tensor]:
    return {"samples": world.latent([1, 128, 1, H, W], seed=20 + seed)}


def reference_list(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Entries `{photo, strength, scale, slot}`, chained as a user chains the nodes."""
    listed: Any = None
    for entry in entries:
        options = {name: value for name, value in entry.items() if name != "photo"}
        more = {} if listed is None else {"references": listed}
        (listed,) = world.node(
            "STDRCReferenceList", reference=_photo(entry["photo"]), **options, **more
        )
    return listed


def _run(reference: dict[str, Any], placement: str = "tass", **inputs: Any) -> dict[str, Any]:
    recorder = world.Recorder()
    steps = inputs.pop("steps", 2)
    guider = world.three_streams(
        recorder.record(world.patched(placement=placement)),
        reference,
        **inputs,
    )
    output = world.run_guider(guider, world.empty_video(T, H, W), steps=steps)
    return {
        "output": output,
        "num_tokens": recorder.num_tokens,
        "steps": steps,
        "bounds": [call["keyframe_idxs"] for call in recorder.calls],
        "timesteps": [call["timestep"] for call in recorder.calls],
    }


def run_listed(entries: list[dict[str, Any]], **inputs: Any) -> dict[str, Any]:
    return _run(reference_list(entries), **inputs)


def run_batch(photos: list[int], **inputs: Any) -> dict[str, Any]:
    """A plain batch of latents, of which nothing is said."""
    return _run({"samples": torch.cat([_photo(seed)["samples"] for seed in photos])}, **inputs)


def core_nodes(photos: list[int]) -> Tensor:
    """One core ReferenceLatent node after another, and core's CFGGuider at scale 1."""
    positive = world.conditioning("a man runs")
    for seed in photos:
        (positive,) = world.node("ReferenceLatent", conditioning=positive, latent=_photo(seed))
    (guider,) = world.node(
        "CFGGuider",
        model=world.patched(),
        positive=positive,
        negative=world.conditioning(""),
        cfg=1.0,
    )
    return world.run_guider(guider, world.empty_video(T, H, W), steps=2)


def encoded(images: Tensor) -> dict[str, Tensor]:
    """A batch of photos through Encode Reference Latent, and each by itself."""
    inputs = {"vae": world.mini_vae(), "latent": world.empty_video(T, H, W)}
    together, preview = world.node("STDRCEncodeReference", image=images, **inputs)
    alone = [
        world.node("STDRCEncodeReference", image=image, **inputs)[0]["samples"]
        for image in images.split(1)
    ]
    return {"together": together["samples"], "alone": torch.cat(alone), "preview": preview}
