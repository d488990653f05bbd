"""Checks of what a run gets: references, video and conditionings, as the host holds them.

Each check raises ValueError with one sentence that names the input, what it was and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...stdrc_core.method.guidance_curve import Scale


def check_reference(reference: Tensor, name: str, num_channels: int) -> None:
    """Raises ValueError unless `reference` is the latents `[K, num_channels, F, H, W]` of K photos.

    The values have to be finite. `name` is what the message calls the reference. How many latent
    frames F it may have depends on the placement (`Decision.check_frames`).
    """
    if reference.is_nested:
        raise ValueError(
            f"{name} is an audio+video latent; needs the latent of one photo or more: make it with "
            "Encode Reference Latent."
        )
    shape = list(reference.shape)
    if len(shape) != 5 or 0 in shape:
        raise ValueError(
            f"{name} has shape {shape}; needs the latent of one photo or more, as a rule one frame "
            f"each, [K, {num_channels}, 1, H, W]: make it with Encode Reference Latent."
        )
    if shape[1] != num_channels:
        raise ValueError(
            f"{name} has {shape[1]} channels; the model works on {num_channels}: encode the photo "
            "with the VAE that belongs to the model."
        )
    check_finite(reference, name)


def check_finite(latent: Tensor, name: str) -> None:
    """Raises ValueError if `latent`, of any shape, holds NaN or infinite values."""
    if not torch.isfinite(latent).all():
        raise ValueError(
            f"{name} holds NaN or infinite values; needs finite ones: make it again, and check the "
            "node that it comes from."
        )


def check_video(video_shape: torch.Size, num_channels: int) -> None:
    """Raises ValueError unless `latent_image` is a video latent `[B, num_channels, T, H, W]`."""
    shape = list(video_shape)
    if len(shape) != 5 or shape[1] != num_channels:
        raise ValueError(
            f"latent_image has shape {shape}; the model needs a video latent "
            f"[B, {num_channels}, T, H, W]: make it with EmptyLTXVLatentVideo."
        )


def check_windows(model_options: Mapping[str, Any], num_latent_frames: int) -> None:
    """Raises ValueError for Context Windows, on the model of these options, that are not longer
    than their overlap, in a video that needs several."""
    handler = model_options.get("context_handler")
    length, overlap = (getattr(handler, f"context_{name}", 0) for name in ("length", "overlap"))
    schedule = getattr(getattr(handler, "context_schedule", None), "name", None)
    if handler is None or num_latent_frames <= length or overlap < length or schedule == "batched":
        return
    raise ValueError(
        f"Context Windows has context_length {length} and context_overlap {overlap}, in latent "
        "frames; needs windows that are longer than their overlap: make context_length longer or "
        "context_overlap shorter."
    )


def check_prompts(positive: list, negative: list) -> None:
    """Raises ValueError if one of the two conditionings is empty."""
    for name, conditioning in (("positive", positive), ("negative", negative)):
        if not conditioning:
            raise ValueError(
                f"{name} is an empty conditioning; needs an encoded prompt: connect a text encoder "
                "(an empty text is fine)."
            )


def check_has_audio(latent_image: Tensor, audio_scale: Scale | None) -> None:
    """Raises ValueError if `audio_scale` is given and `latent_image` has no audio."""
    if audio_scale is not None and not latent_image.is_nested:
        raise ValueError(
            f"audio_scale was {audio_scale}, and latent_image has no audio; needs an audio+video "
            "latent: connect LTXV Concat AV Latent, or disconnect audio_scale."
        )


def check_whole_frame(conds: dict[str, list[dict[str, Any]]]) -> None:
    """Raises ValueError if one of a run's conditionings has an area; `conds` are those by stream.

    The host gives each stream the areas of all the others too, and a part of the frame has no room
    for a reference of the whole frame's size.
    """
    for stream, members in conds.items():
        if any(cond.get("area") is not None for cond in members):
            raise ValueError(
                f"{stream} has a conditioning with an area; beside a reference it needs to be for "
                "the whole frame: use Conditioning (Set Mask) instead of Conditioning (Set Area)."
            )


def check_references(
    references: list[Tensor], stream: str, video_shape: torch.Size, *, have_own_size: bool = False
) -> None:
    """Raises ValueError if the references of `stream` do not fit a video `[B, C, T, H, W]`.

    They are the latents of our guider's input, or those that core's ReferenceLatent nodes put into
    a prompt. They need the video's H and W, unless they `have_own_size`, and as many latent frames
    as one another.
    """
    name = "reference"
    if not stream.startswith(name):
        name = f"the reference (ReferenceLatent) of the {stream} conditioning"
    for reference in references:
        check_reference(reference, name, video_shape[1])
        size, video_size = list(reference.shape[-2:]), list(video_shape[-2:])
        if size != video_size and not have_own_size:
            raise ValueError(
                f"{name} is {size[0]} x {size[1]} latent pixels (height x width), latent_image is "
                f"{video_size[0]} x {video_size[1]}; needs the same size: connect this "
                "latent_image to the latent input of Encode Reference Latent."
            )
    if len({each.shape[2] for each in references}) > 1:
        lengths = " and ".join(str(each.shape[2]) for each in references)
        raise ValueError(
            f"{name} has parts of {lengths} latent frames; needs references of one length: make "
            "all of them with the same held_frames of Encode Reference Latent."
        )
