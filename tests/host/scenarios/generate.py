"""The miniature workflow's way from photo and prompt to frames, node by node."""

from __future__ import annotations

from typing import Any

import nodes
from scenarios import world
from torch import Tensor


def clip(
    photo: Tensor,
    prompt: str,
    num_frames: int,
    side_px: int,
    num_steps: int,
    seed: int,
    text_scale: float,
    reference_scale: float,
    first_frame: Tensor | None = None,
    more_photos: list[Tensor] | None = None,
    text_curve: dict[str, Any] | None = None,
    windows: dict[str, Any] | None = None,
    **over_time: float,
) -> Tensor:
    """`[F, h, w, 3]` in [0, 1]; `first_frame` `[1, h, w, 3]` is core's in-place conditioning.
    `more_photos` are chained by Reference List, as a user does.

    `text_curve` are the inputs of Guidance Curve, `windows` those of core's Context Windows, and
    `over_time` more of the guider's.
    """
    more: dict[str, Any] = dict(over_time)
    if text_curve is not None:
        (more["text_curve"],) = world.node("STDRCGuidanceCurve", **text_curve)
    video = world.node(
        "EmptyLTXVLatentVideo", width=side_px, height=side_px, length=num_frames, batch_size=1
    )[0]
    if first_frame is not None:
        (video,) = world.node(
            "LTXVImgToVideoInplace",
            vae=world.mini_vae(),
            image=first_frame,
            latent=video,
            bypass=False,
        )
    reference = _encoded(photo, video)
    if more_photos:
        (reference,) = world.node("STDRCReferenceList", reference=reference)
    for each in more_photos or []:
        (reference,) = world.node(
            "STDRCReferenceList", reference=_encoded(each, video), references=reference
        )
    model = world.patched()
    if windows is not None:
        (model,) = world.node("ContextWindowsManual", model=model, dim=2, **windows)
    guider = world.three_streams(
        model,
        reference,
        positive=world.conditioning(prompt),
        negative=world.conditioning(""),
        text_scale=text_scale,
        reference_scale=reference_scale,
        **more,
    )
    output, _ = world.node(
        "SamplerCustomAdvanced",
        noise=world.node("RandomNoise", noise_seed=seed)[0],
        guider=guider,
        sampler=world.sampler("euler"),
        sigmas=world.node("LTXVScheduler", steps=num_steps, latent=video)[0],
        latent_image=video,
    )
    return nodes.VAEDecode().decode(world.mini_vae(), output)[0]


def _encoded(photo: Tensor, video: dict[str, Any]) -> dict[str, Any]:
    return world.node("STDRCEncodeReference", image=photo, vae=world.mini_vae(), latent=video)[0]
