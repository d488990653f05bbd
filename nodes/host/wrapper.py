"""The one file that knows ComfyUI's tensor conventions: how a reference enters its LTX transformer.

Three wrappers, all in the host's own extension points, carry a reference through a run:

* OUTER_SAMPLE reads `reference_latents` off the run's copy of each conditioning, checks them
  against the video and hands them on as a keyword argument of the transformer for that
  conditioning alone. That is how one stream sees the reference while the others do not. Where
  it is to stand goes along: only now is it known which LoRAs are on the model.
* PREPARE_SAMPLING tells the host's memory estimate of the latent frames that are added.
* DIFFUSION_MODEL appends the references' frames, their RoPE bounds and their timestep to what the
  transformer gets, and cuts the frames from what comes out. Of audio and video together, the audio
  does not see them.

Nothing on the model instance changes, and nothing outlives the run.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import comfy.conds
import torch
from comfy.ldm.lightricks.av_model import LTXAVModel
from comfy.ldm.lightricks.model import LTXBaseModel, LTXRopeType
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP, add_wrapper_with_key
from torch import Tensor

from ...stdrc_core.ltx.reference_layout import LayoutChoice, ReferenceLayout
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
from .checks import check_finite, check_references, check_video, check_whole_frame
from .easycache import WRAPPER_KEY, put_inside_easycache
from .rope import with_turned_angles
from .version import check_version
from .weights import decide_layout

log = logging.getLogger(__name__)

# The transformer's keyword arguments that carry a conditioning's reference latents, the layout of
# the model's weights, and what is said of each reference.
REFERENCE_ARGUMENT, LAYOUT_ARGUMENT = "stdrc_reference", "stdrc_layout"
PLACED_ARGUMENT = "stdrc_placed"
# Where core's ReferenceLatent node keeps its latents in a conditioning, and where we keep the rest.
REFERENCE_LATENTS, PLACED_REFERENCES = "reference_latents", "stdrc_references"


def patch_model(model: ModelPatcher, choice: LayoutChoice) -> ModelPatcher:
    """A clone of an LTX `model` that takes references; patching it again replaces the first patch.

    Raises ValueError when the model is not LTX, or newer than this ComfyUI.
    """
    transformer = model.model.diffusion_model
    if not isinstance(transformer, LTXBaseModel):
        raise ValueError(
            f"model is a {type(transformer).__name__}; Apply TASS-RoPE Patch needs an LTX-Video or "
            "LTX-2 model: load one and connect it."
        )
    check_version(model)
    patched = model.clone()
    for wrapper_type, wrapper in (
        (WrappersMP.OUTER_SAMPLE, partial(attach_references, choice=choice)),
        (WrappersMP.DIFFUSION_MODEL, put_in_context),
    ):
        patched.remove_wrappers_with_key(wrapper_type, WRAPPER_KEY)
        patched.add_wrapper_with_key(wrapper_type, WRAPPER_KEY, wrapper)
    return patched


def is_patched(model: ModelPatcher) -> bool:
    return bool(model.get_wrappers(WrappersMP.DIFFUSION_MODEL, WRAPPER_KEY))


def layout_choice(model: ModelPatcher) -> LayoutChoice:
    """What Apply TASS-RoPE Patch was told on a patched `model`."""
    (attach,) = model.get_wrappers(WrappersMP.OUTER_SAMPLE, WRAPPER_KEY)
    return attach.keywords["choice"]


def attach_references(
    executor: WrapperExecutor,
    noise: Tensor,
    latent_image: Tensor,
    *args: Any,
    choice: LayoutChoice,
    **kwargs: Any,
) -> Tensor:
    """OUTER_SAMPLE: turns each conditioning's `reference_latents` into transformer arguments.

    `executor.class_obj` is the guider; its `conds` are copies that live for this run. Raises
    ValueError, before any sampling, for a reference that does not fit the video, and where
    `choice` leaves to the weights what cannot be read off them.
    """
    guider = executor.class_obj
    carriers = [
        (stream, cond)
        for stream, conds in guider.conds.items()
        for cond in conds
        if cond.get(REFERENCE_LATENTS)
    ]
    if not carriers:
        return executor(noise, latent_image, *args, **kwargs)

    decision = decide_layout(choice, guider.model_patcher)
    log.log(logging.WARNING if decision.is_doubtful else logging.INFO, decision.sentence)
    model = guider.model_patcher.model
    check_rope(model.diffusion_model, decision.layout)
    # Audio and video come packed into one tensor; the video's own shape is the first of these.
    video_shape = (kwargs.get("latent_shapes") or [latent_image.shape])[0]
    check_video(video_shape, model.latent_format.latent_channels)
    check_finite(latent_image, "latent_image")
    check_whole_frame(guider.conds)
    device, most = guider.model_patcher.load_device, torch.empty(0)
    for stream, cond in carriers:
        references = cond[REFERENCE_LATENTS]
        placed = cond.get(PLACED_REFERENCES, ())
        have_own_size = {each.has_own_size for each in placed} == {True}
        check_references(references, stream, video_shape, have_own_size=have_own_size)
        frames = torch.cat([model.process_latent_in(each) for each in references])
        latent = frames[:, :, 0].movedim(0, 1)  # [C, K, H, W]
        placed = placed or in_order(len(frames))
        cond["model_conds"] = {
            **cond["model_conds"],
            REFERENCE_ARGUMENT: comfy.conds.CONDRegular(latent[None].to(device)),
            LAYOUT_ARGUMENT: comfy.conds.CONDConstant(decision.layout),
            PLACED_ARGUMENT: comfy.conds.CONDConstant(placed),
        }
        most = max(most, latent, key=Tensor.numel)
    put_inside_easycache(guider.model_options["transformer_options"]["wrappers"])
    # Added now, so that it stands inside wrappers that cut the shape down (context windows).
    add_wrapper_with_key(
        WrappersMP.PREPARE_SAMPLING,
        WRAPPER_KEY,
        partial(count_references, shape=most.shape),
        guider.model_options,
        is_model_options=True,
    )
    return executor(noise, latent_image, *args, **kwargs)


def count_references(
    executor: WrapperExecutor,
    model: ModelPatcher,
    noise_shape: list[int],
    *args: Any,
    shape: torch.Size,
    **kwargs: Any,
) -> Any:
    """PREPARE_SAMPLING: the references' latent frames in the host's memory estimate.

    `noise_shape` is `[B, C, T, H, W]`, or `[B, 1, N]` where audio and video are packed; `shape` is
    the references' `[C, K, h, w]`.
    """
    extended = list(noise_shape)
    per_step = math.prod(extended[3:]) * (shape[0] if len(extended) == 5 else 1)
    extended[2] += math.ceil(math.prod(shape) / per_step)
    return executor(model, extended, *args, **kwargs)


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
    """DIFFUSION_MODEL: references as in-context tokens (Eq. 2) at their places (Eq. 4).

    x is the video `[B, C, T', H, W]`, or a list of it and the audio. T' counts the host's guide
    frames too; timestep is `[B]` or per token `[B, T' H W, 1]`; keyframe_idxs `[B, 3, K, 2]` are
    the guides' bounds, in frames and pixels.
    """
    if isinstance(executor.class_obj, LTXAVModel) and torch.is_tensor(x):
        # Around EasyCache a video alone is no list (`easycache`).
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
    layout: ReferenceLayout = kwargs.pop(LAYOUT_ARGUMENT)
    video, *audio = x if isinstance(x, list | tuple) else (x,)
    grid = video_grid(video, keyframe_idxs)
    num_references, *size = reference.shape[2:]
    placed: tuple[PlacedReference, ...]
    placed = kwargs.pop(PLACED_ARGUMENT, None) or in_order(num_references)
    slots = [each.slot for each in placed]
    transformer = executor.class_obj
    bounds = reference_bounds(transformer, grid, layout, slots, frame_rate, tuple(size))
    frames, num_padding = as_frames(reference, grid.height, grid.width)
    num_frames, num_tokens = frames.shape[2], math.prod(size)
    # The host drops what fills up the last frame, by the mask; it wants bounds for it all the same.
    bounds = torch.cat((bounds, bounds[:, -1:].expand(-1, num_padding, -1)), dim=1)
    if layout.placement.turns_angles:
        transformer_options = with_turned_angles(
            transformer_options,
            num_blocks=len(transformer.transformer_blocks),
            phases=[layout.source_phase.at(slot) for slot in slots],
            tokens_per_phase=num_tokens,
        )
    if any(part.numel() for part in audio):
        transformer_options = hidden_from_audio(
            transformer_options,
            num_blocks=len(transformer.transformer_blocks),
            num_tokens=num_references * num_tokens,
        )
    entries = kwargs.get("guide_attention_entries")
    if entries or any(each.strength != 1 for each in placed):
        if not entries and keyframe_idxs is not None:
            entries = [_attention_entry(keyframe_idxs.shape[2])]
        own = [_attention_entry(num_tokens, each.strength) for each in placed]
        padding = [_attention_entry(num_padding)] if num_padding else []
        kwargs["guide_attention_entries"] = [*(entries or ()), *own, *padding]

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
    """The video's own grid: T does not count the guide frames that the host appended."""
    _, _, num_frames, height, width = video.shape
    num_guide_tokens = 0 if keyframe_idxs is None else keyframe_idxs.shape[2]
    num_guide_frames = num_guide_tokens // (height * width)
    return LatentGrid(num_frames=num_frames - num_guide_frames, height=height, width=width)


def check_rope(transformer: LTXBaseModel, layout: ReferenceLayout) -> None:
    """Raises ValueError where `layout` turns angles that this model's RoPE has not."""
    if (
        layout.placement.turns_angles
        and transformer.split_positional_embedding != LTXRopeType.SPLIT
    ):
        raise ValueError(
            f"placement is {layout.placement}, which turns RoPE angles, and the model has "
            "interleaved RoPE; needs an LTX-2 model, whose RoPE is split, or placement tass or "
            "overlap."
        )


def reference_bounds(
    transformer: LTXBaseModel,
    grid: LatentGrid,
    layout: ReferenceLayout,
    slots: Sequence[int],
    frame_rate: float,
    size: tuple[int, int],
) -> Tensor:
    """`[3, K h w, 2]`, with the scale factors and the causality of this very model.

    `size` is (h, w) of each of the K references, in latent steps.
    The host keeps whole frames: it cuts off what `strata` has after the decimal point.
    """
    time, height, width = transformer.vae_scale_factors
    return torch.cat(
        [
            reference_pixel_bounds(
                grid,
                layout.placement,
                slot=slot,
                size=size,
                frame_rate=frame_rate,
                temporal_offset=layout.temporal_offset,
                scale=ScaleFactors(time=time, height=height, width=width),
                causal=transformer.causal_temporal_positioning,
            )
            for slot in slots
        ],
        dim=1,
    )


def _append_timestep(
    timestep: Tensor, video: Tensor, reference_timestep: ReferenceTimestep, num_appended: int
) -> Tensor:
    """Timesteps per token, those of M appended frames at the end: `[B, (T' + M) H W, 1]`."""
    batch, _, num_frames, height, width = video.shape
    per_token = timestep.reshape(batch, -1, 1).expand(batch, num_frames * height * width, 1)
    # A masked video has many timesteps; its own is the largest, as in the host's prompt AdaLN.
    own = per_token.amax(dim=1, keepdim=True)
    if reference_timestep is ReferenceTimestep.CLEAN:
        own = torch.zeros_like(own)
    return torch.cat((per_token, own.expand(-1, num_appended * height * width, -1)), dim=1)


def _append_bounds(keyframe_idxs: Tensor | None, bounds: Tensor, batch: int) -> Tensor:
    """The host lays `keyframe_idxs` over the bounds of its last K tokens; ours go last."""
    bounds = bounds[None].expand(batch, -1, -1, -1)
    if keyframe_idxs is None:
        return bounds
    return torch.cat((keyframe_idxs.expand(batch, -1, -1, -1), bounds), dim=2)


def _append_mask(
    denoise_mask: Tensor | None, video: Tensor, num_appended: int, num_padding: int
) -> Tensor:
    """`[B, 1, T' + M, H, W]`: the host's mask (it may come with C channels), 0 on references.

    The last `num_padding` tokens get -1, for which the host leaves them out.
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
    """The host's own form; its entries have to cover all of the appended tokens."""
    return {
        "pre_filter_count": num_tokens,
        "strength": strength,
        "pixel_mask": None,
        "latent_shape": None,
    }
