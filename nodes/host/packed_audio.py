"""Audio and video in one tensor, as the host samples them together: each guided by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import comfy.utils
from torch import Tensor

from ...stdrc_core.method.guidance import rescale

# The host's option for a function that takes the place of its classifier-free guidance.
_CFG_FUNCTION = "sampler_cfg_function"

CfgFunction = Callable[[dict[str, Any]], Tensor]


def with_audio_of(latent: Tensor, other: Tensor, shapes: Sequence[Sequence[int]]) -> Tensor:
    """Returns `latent` with the audio of `other`.

    Both are of the shapes `shapes`, the video's first, packed as the host does it. Where there is
    one shape there is no audio, and `latent` is returned as it is.
    """
    if len(shapes) == 1:
        return latent
    video, *_ = comfy.utils.unpack_latents(latent, shapes)
    _, *audio = comfy.utils.unpack_latents(other, shapes)
    return comfy.utils.pack_latents([video, *audio])[0]


def rescaled_apart(
    guided: Tensor, positive: Tensor, phi: float, *, shapes: Sequence[Sequence[int]]
) -> Tensor:
    """Rescales audio and video each by itself (`guidance.rescale`), as `with_audio_of` packs."""
    unpacked = (comfy.utils.unpack_latents(each, shapes) for each in (guided, positive))
    parts = [rescale(*pair, phi) for pair in zip(*unpacked, strict=True)]
    return parts[0] if len(parts) == 1 else comfy.utils.pack_latents(parts)[0]


def guiding_audio_apart(
    model_options: dict[str, Any], audio_scale: float, shapes: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """Returns the options of one evaluation whose CFG has the scale `audio_scale` for the audio.

    A function that a user has set in the place of the host's CFG goes on working: it is asked once
    for the video, by the video's scale, and once for the audio.
    """
    inner = model_options.get(_CFG_FUNCTION, _classifier_free_guidance)
    apart = partial(
        _apart, inner=inner, audio_scale=audio_scale, shapes=shapes, model_options=model_options
    )
    return {**model_options, _CFG_FUNCTION: apart}


def _apart(
    args: dict[str, Any],
    *,
    inner: CfgFunction,
    audio_scale: float,
    shapes: Sequence[Sequence[int]],
    model_options: dict[str, Any],
) -> Tensor:
    args = {**args, "model_options": model_options}
    video = inner(args)
    return with_audio_of(video, inner({**args, "cond_scale": audio_scale}), shapes)


def _classifier_free_guidance(args: dict[str, Any]) -> Tensor:
    return args["uncond"] + (args["cond"] - args["uncond"]) * args["cond_scale"]
