"""References in context: what the transformer gets beside the video's tokens (Eq. 2 and 4).

`put_in_context` goes around the transformer's forward pass. For a conditioning that carries
references it appends their latent frames to the video, and for their tokens places, a timestep, a
mask and attention strengths. Of what comes out it cuts off the references' frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from comfy.ldm.lightricks.av_model import LTXAVModel
from comfy.ldm.lightricks.model import LTXBaseModel
from comfy.patcher_extension import WrapperExecutor
from torch import Tensor

from ...stdrc_core.ltx.reference_layout import ReferenceLayout
from ...stdrc_core.method.grid import LatentGrid, ScaleFactors
from ...stdrc_core.method.layout import reference_pixel_bounds
from ...stdrc_core.method.multi_reference import PlacedReference, in_order
from ...stdrc_core.method.reference import (
    ReferenceTimestep,
    append_reference,
    as_frames,
    strip_reference,
)
from .audio import hidden_from_audio
from .rope import with_turned_angles

# The transformer's keyword arguments by which a conditioning's references reach `put_in_context`:
# their latents, the layout of the model's weights, and a PlacedReference for each.
REFERENCE_ARGUMENT, LAYOUT_ARGUMENT = "stdrc_reference", "stdrc_layout"
PLACED_ARGUMENT = "stdrc_placed"


def put_in_context(
    executor: WrapperExecutor,
    x: Tensor | list[Tensor],
    timestep: Tensor,
    context: Tensor,
    attention_mask: Tensor | None,
    frame_rate: float,
    transformer_options: dict[str, Any],
    keyframe_idxs: Tensor | None = None,
    denoise_mask: Tensor | None = None,
    **kwargs: Any,
) -> Tensor | list[Tensor]:
    """Calls the transformer with references behind the video; a wrapper of kind DIFFUSION_MODEL.

    `x` is the video `[B, C, T', H, W]`, or a list of the video and the audio. T' counts the host's
    guide frames too. `timestep` is `[B]`, or `[B, T' H W, 1]` with one per token. `keyframe_idxs`
    `[B, 3, K, 2]` are the bounds of the guides' K tokens, in frames and pixels. Returns what the
    transformer makes of `x`, in the form and size of `x`; a call without references passes through.
    """
    transformer = executor.class_obj
    if isinstance(transformer, LTXAVModel) and torch.is_tensor(x):
        # Around EasyCache a video without audio is a bare tensor (`easycache`).
        x = [x]
    reference = kwargs.pop(REFERENCE_ARGUMENT, None)
    if reference is None:
        return executor(
            x,
            timestep,
            context,
            attention_mask,
            frame_rate,
            transformer_options,
            keyframe_idxs,
            denoise_mask=denoise_mask,
            **kwargs,
        )
    reference = reference.squeeze(2)  # [B, C, K F, h, w]
    layout: ReferenceLayout = kwargs.pop(LAYOUT_ARGUMENT)
    num_latent_frames, height, width = reference.shape[2:]
    placed: Sequence[PlacedReference]
    placed = kwargs.pop(PLACED_ARGUMENT, None) or in_order(num_latent_frames)
    slots = [each.slot for each in placed]
    own = LatentGrid(num_frames=num_latent_frames // len(placed), height=height, width=width)
    num_tokens = own.num_tokens  # of each reference
    video, *audio = x if isinstance(x, list | tuple) else (x,)
    grid = video_grid(video, keyframe_idxs)
    frames, num_padding = as_frames(reference, grid.height, grid.width)
    num_frames = frames.shape[2]

    bounds = reference_bounds(transformer, grid, layout, slots, frame_rate, own)
    if bounds.is_floating_point():
        # Not every device has float64. The host drops what is behind the point in any case, and
        # here it is dropped before float32 could round it up to the next frame.
        bounds = bounds.trunc().to(torch.float32)
    # The mask makes the host drop the tokens that fill up the last frame; it wants bounds for them
    # all the same.
    bounds = torch.cat((bounds, bounds[:, -1:].expand(-1, num_padding, -1)), dim=1)
    num_blocks = len(transformer.transformer_blocks)
    if layout.placement.turns_angles:
        transformer_options = with_turned_angles(
            transformer_options,
            num_blocks=num_blocks,
            phases=[layout.source_phase.at(slot) for slot in slots],
            tokens_per_phase=num_tokens,
        )
    if any(part.numel() for part in audio):
        transformer_options = hidden_from_audio(
            transformer_options, num_blocks=num_blocks, num_tokens=len(placed) * num_tokens
        )
    entries = kwargs.get("guide_attention_entries")
    if entries or any(each.strength != 1 for each in placed):
        if not entries and keyframe_idxs is not None:
            entries = [_attention_entry(keyframe_idxs.shape[2])]
        theirs = [_attention_entry(num_tokens, each.strength) for each in placed]
        padding = [_attention_entry(num_padding)] if num_padding else []
        kwargs["guide_attention_entries"] = [*(entries or ()), *theirs, *padding]

    extended = append_reference(video, frames)
    output = executor(
        [extended, *audio] if isinstance(x, list | tuple) else extended,
        _append_timestep(timestep, video, layout.reference_timestep, num_frames),
        context,
        attention_mask,
        frame_rate,
        transformer_options,
        _append_bounds(keyframe_idxs, bounds.to(video.device), video.shape[0]),
        denoise_mask=_append_mask(denoise_mask, video, num_frames, num_padding),
        **kwargs,
    )
    if isinstance(output, list | tuple):
        return [strip_reference(output[0], num_frames), *output[1:]]
    return strip_reference(output, num_frames)


def video_grid(video: Tensor, keyframe_idxs: Tensor | None) -> LatentGrid:
    """Returns the grid of a video `[B, C, T', H, W]` without the guide frames in it.

    The host appends guides to the video's frames; `keyframe_idxs` `[B, 3, K, 2]` tell how many
    tokens these have.
    """
    _, _, num_frames, height, width = video.shape
    num_guide_tokens = 0 if keyframe_idxs is None else keyframe_idxs.shape[2]
    num_guide_frames = num_guide_tokens // (height * width)
    return LatentGrid(num_frames=num_frames - num_guide_frames, height=height, width=width)


def reference_bounds(
    transformer: LTXBaseModel,
    grid: LatentGrid,
    layout: ReferenceLayout,
    slots: Sequence[int],
    frame_rate: float,
    own: LatentGrid,
) -> Tensor:
    """Returns the bounds of all references' tokens in frames and pixels, `[3, K F h w, 2]` (Eq. 4).

    The K references stand in `slots` and each has the grid `own` of F x h x w tokens. The scale
    factors and the causality are those of this `transformer`. The host rounds the bounds in time
    down to whole frames, so `strata` loses what it has after the decimal point.
    """
    time, height, width = transformer.vae_scale_factors
    bounds = [
        reference_pixel_bounds(
            grid,
            layout.placement,
            slot=slot,
            num_slots=max(layout.num_slots, max(slots) + 1),
            size=(own.height, own.width),
            num_frames=own.num_frames,
            frame_rate=frame_rate,
            temporal_offset=layout.temporal_offset,
            scale=ScaleFactors(time=time, height=height, width=width),
            causal=transformer.causal_temporal_positioning,
        )
        for slot in slots
    ]
    return torch.cat(bounds, dim=1)


def _append_timestep(
    timestep: Tensor, video: Tensor, reference_timestep: ReferenceTimestep, num_appended: int
) -> Tensor:
    """Returns a timestep per token, `[B, (T' + M) H W, 1]`; the last are those of M frames."""
    batch, _, num_frames, height, width = video.shape
    per_token = timestep.reshape(batch, -1, 1).expand(batch, num_frames * height * width, 1)
    # A masked video has many timesteps. Its own is the largest, as in the host's prompt AdaLN.
    own = per_token.amax(dim=1, keepdim=True)
    if reference_timestep is ReferenceTimestep.CLEAN:
        own = torch.zeros_like(own)
    return torch.cat((per_token, own.expand(-1, num_appended * height * width, -1)), dim=1)


def _append_bounds(keyframe_idxs: Tensor | None, bounds: Tensor, batch: int) -> Tensor:
    """Returns bounds `[B, 3, K + N, 2]`: the guides' K, then the references' `[3, N, 2]`.

    The host puts them in the place of the bounds of its last tokens, and ours are the very last.
    """
    bounds = bounds[None].expand(batch, -1, -1, -1)
    if keyframe_idxs is None:
        return bounds
    return torch.cat((keyframe_idxs.expand(batch, -1, -1, -1), bounds), dim=2)


def _append_mask(
    denoise_mask: Tensor | None, video: Tensor, num_appended: int, num_padding: int
) -> Tensor:
    """Returns the host's mask with M frames appended, `[B, 1, T' + M, H, W]`, 0 on references.

    `denoise_mask` may have a channel or C of them, all alike. The last `num_padding` tokens get -1,
    which makes the host leave them out.
    """
    batch, _, num_frames, height, width = video.shape
    if denoise_mask is None:
        mask = video.new_ones(batch, 1, num_frames, height, width)
    else:
        mask = denoise_mask[:, :1].expand(batch, 1, num_frames, height, width)
    appended = mask.new_zeros(batch, 1, num_appended * height * width)
    appended[..., appended.shape[2] - num_padding :] = -1
    appended = appended.reshape(batch, 1, num_appended, height, width)
    return torch.cat((mask, appended), dim=2)


def _attention_entry(num_tokens: int, strength: float = 1.0) -> dict[str, Any]:
    """Returns the host's entry for how strongly `num_tokens` appended tokens are attended to.

    The entries of a call have to cover all of the appended tokens, guides and padding too.
    """
    return {
        "pre_filter_count": num_tokens,
        "strength": strength,
        "pixel_mask": None,
        "latent_shape": None,
    }
