"""An oracle of core's making: the reference appended by hand as one more guide frame.

Core's CFGGuider samples the unpatched model on a latent that holds the reference as its last frame,
held by the noise mask, its bounds (Eq. 4, from the test) after those of the guides. Our guider at
s_y = s_r = 1 has to give the same frames.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest import mock

import comfy.nested_tensor
import node_helpers
import torch
from scenarios import host_forms, world
from torch import Tensor


def _sample(guider: Any, latent: dict[str, Any], noise: Any, sampler: str) -> Any:
    output, _ = world.node(
        "SamplerCustomAdvanced",
        noise=world.FixedNoise(noise),
        guider=guider,
        sampler=world.sampler(sampler),
        sigmas=world.sigmas(3),
        latent_image=latent,
    )
    return output["samples"]


def _by_hand(
    model: Any,
    prompt: list,
    video: dict[str, Any],
    reference: Tensor,
    bounds: Tensor,
    noise: Tensor,
    audio: dict[str, Tensor] | None,
    sampler: str,
    strength: float,
) -> list[Tensor]:
    samples = video["samples"]
    batch, channels, num_frames, height, width = samples.shape
    options = prompt[0][1]
    guides = options.get("keyframe_idxs")
    bounds = bounds[None] if guides is None else torch.cat((guides, bounds[None]), dim=2)
    values: dict[str, Any] = {"keyframe_idxs": bounds}
    entries = options.get("guide_attention_entries")
    if entries or strength != 1:
        own = {
            "pre_filter_count": height * width,
            "strength": strength,
            "pixel_mask": None,
            "latent_shape": [1, height, width],
        }
        values["guide_attention_entries"] = [*(entries or []), own]
    prompt = node_helpers.conditioning_set_values(prompt, values)
    mask = video.get("noise_mask")
    mask = torch.ones(batch, 1, num_frames, 1, 1) if mask is None else mask
    mask = mask.expand(batch, 1, num_frames, height, width)
    held = torch.zeros(batch, 1, 1, height, width)
    latent: dict[str, Any] = {
        "samples": torch.cat((samples, reference.expand(batch, -1, -1, -1, -1)), dim=2),
        "noise_mask": torch.cat((mask, held), dim=2),
    }
    all_noise: Any = torch.cat((noise, torch.zeros(batch, channels, 1, height, width)), dim=2)
    if audio is not None:
        nested = comfy.nested_tensor.NestedTensor
        latent = {
            "samples": nested([latent["samples"], audio["samples"]]),
            "noise_mask": nested([latent["noise_mask"], audio["noise_mask"]]),
        }
        all_noise = nested([all_noise, audio["noise"]])
    guider = world.node("CFGGuider", model=model, positive=prompt, negative=prompt, cfg=1.0)[0]
    with _blind_audio(model, height * width):
        result = _sample(guider, latent, all_noise, sampler)
    parts = result.unbind() if audio is not None else [result]
    return [parts[0][:, :, :num_frames], *parts[1:]]


@contextlib.contextmanager
def _blind_audio(model: Any, num_tokens: int) -> Iterator[None]:
    """The audio attends to the video's tokens but for the last: their module is given no others."""

    def forward(original: Any, x: Tensor, context: Tensor, k_pe: Any, **kwargs: Any) -> Tensor:
        k_pe = host_forms.rope_without(k_pe, num_tokens)
        return original(x, context=context[:, :-num_tokens], k_pe=k_pe, **kwargs)

    with contextlib.ExitStack() as stack:
        for block in model.model.diffusion_model.transformer_blocks:
            attention = block.video_to_audio_attn
            blind = partial(forward, attention.forward)
            stack.enter_context(mock.patch.object(attention, "forward", blind))
        yield


def _ours(
    model: Any,
    prompt: list,
    video: dict[str, Any],
    reference: Tensor,
    noise: Tensor,
    audio: dict[str, Tensor] | None,
    sampler: str,
    strength: float,
) -> list[Tensor]:
    (listed,) = world.node(
        "STDRCReferenceList", reference={"samples": reference}, strength=strength
    )
    guider = world.three_streams(
        world.patched(model),
        listed,
        positive=prompt,
        negative=prompt,
        text_scale=1.0,
        reference_scale=1.0,
    )
    latent, all_noise = video, noise
    if audio is not None:
        nested = comfy.nested_tensor.NestedTensor
        mask = video.get("noise_mask", torch.ones_like(video["samples"][:, :1]))
        latent = {
            "samples": nested([video["samples"], audio["samples"]]),
            "noise_mask": nested([mask, audio["noise_mask"]]),
        }
        all_noise = nested([noise, audio["noise"]])
    result = _sample(guider, latent, all_noise, sampler)
    return list(result.unbind()) if audio is not None else [result]


def _inpaint_mask(shape: torch.Size, batch: int) -> Tensor:
    """A mask that differs over space, time and batch, 0 to 1."""
    _, _, num_frames, height, width = shape
    generator = torch.Generator().manual_seed(11)
    return torch.rand((batch, 1, num_frames, height, width), generator=generator).round(decimals=1)


def _guided(case: str, grid: list[int], prompt: list) -> tuple[list, dict[str, Any]]:
    """The prompt and the video latent with the guides that `case` names."""
    video = world.empty_video(*grid)
    options: dict[str, Any] = {"frame_idx": 0, "strength": 1.0}
    num_images, size = 1, [grid[1] * 32, grid[2] * 32]
    if case == "weak guide":
        options["strength"] = 0.5
    elif case == "masked guide":
        mask = torch.linspace(0, 1, size[0])[:, None].expand(size[0], size[1])[None]
        options |= {"strength": 0.7, "attention_mask": mask}
    elif case == "dilated guide":
        options["iclora_parameters"] = {"reference_downscale_factor": 2}
    elif case == "video guide":
        num_images, options["strength"] = 9, 0.6
    image = torch.rand((num_images, *size, 3), generator=torch.Generator().manual_seed(0))
    positive, _, video = world.node(
        "LTXVAddGuide",
        positive=prompt,
        negative=prompt,
        vae=world.mini_vae(),
        latent=video,
        image=image,
        **options,
    )
    return positive, video


def compare(
    case: str,
    grid: list[int],
    bounds: Tensor,
    batch: int = 1,
    sampler: str = "euler",
    strength: float = 1.0,
    version: str = "2.3",
) -> dict[str, list[Tensor]]:
    """Both results, video first, and audio where there is one.

    `grid` is the video's own (T, H, W) and `bounds` `[3, H W, 2]` the reference's, by the test.
    """
    prompt, video = world.conditioning("a man runs"), world.empty_video(*grid, batch=batch)
    model, audio = world.model_of(version), None
    if "guide" in case:
        prompt, video = _guided(case, grid, prompt)
    if "inpaint" in case:
        video["noise_mask"] = _inpaint_mask(video["samples"].shape, batch)
        video["samples"] = world.latent(list(video["samples"].shape), seed=21)
    if "audio" in case:
        # As many tokens as the video's with the reference's, in one case.
        length = math.prod(grid) + math.prod(grid[1:]) if "long" in case else 12
        shape = [batch, 8, length, 16]
        held = torch.ones(batch, 1, length, 16)
        held[:, :, :4] = 0.5
        audio = {
            "samples": world.latent(shape, seed=31),
            "noise": world.latent(shape, seed=32),
            "noise_mask": held,
        }
    noise = world.latent(list(video["samples"].shape), seed=4)
    reference = world.latent([1, 128, 1, *grid[1:]], seed=2)
    ours = prompt
    if case == "bare guide":
        # Of a guide whose attention nothing is said of: the host takes it as whole.
        ours = node_helpers.conditioning_set_values(prompt, {"guide_attention_entries": None})
    return {
        "by_hand": _by_hand(
            model, prompt, video, reference, bounds, noise, audio, sampler, strength
        ),
        "ours": _ours(model, ours, video, reference, noise, audio, sampler, strength),
    }
