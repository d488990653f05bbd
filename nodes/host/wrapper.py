"""Makes an LTX model of the host take references, by three of the host's own wrappers.

* OUTER_SAMPLE (`attach_references`) reads the references off a run's conditionings, checks them
  against the video, and hands them to the transformer as arguments for that conditioning alone.
  That is how one stream sees a reference while the others do not. It also decides where they
  stand: only when sampling begins is it known which LoRAs are on the model.
* PREPARE_SAMPLING (`count_references`) adds the references to the host's memory estimate.
* DIFFUSION_MODEL (`in_context.put_in_context`) puts them in context around each forward pass.

Nothing on the model instance changes, and nothing outlives the run.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import comfy.conds
import comfy.utils
import torch
from comfy.ldm.lightricks.model import LTXBaseModel
from comfy.model_base import LTXAV
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from ...stdrc_core.ltx.reference_layout import LayoutChoice
from ...stdrc_core.method.multi_reference import in_order
from .checks import (
    check_finite,
    check_references,
    check_video,
    check_whole_frame,
    check_windows,
)
from .easycache import WRAPPER_KEY, put_inside_easycache
from .in_context import (
    LAYOUT_ARGUMENT,
    PLACED_ARGUMENT,
    REFERENCE_ARGUMENT,
    put_in_context,
    video_grid,
)
from .rope import check_rope
from .version import check_version
from .weights import decide_layout

log = logging.getLogger(__name__)

# A conditioning's key for reference latents, which core's ReferenceLatent node sets too, and our
# own key for where each of them stands and how much it counts (a PlacedReference each).
REFERENCE_LATENTS, PLACED_REFERENCES = "reference_latents", "stdrc_references"


def patch_model(model: ModelPatcher, choice: LayoutChoice) -> ModelPatcher:
    """Returns a clone of `model` that takes references, laid out by `choice`.

    Patching a model again replaces the first patch. Raises ValueError if the model is not LTX, or
    is newer than this ComfyUI.
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
    """Whether `model` went through `patch_model`; clones of a patched model are patched too."""
    return bool(model.get_wrappers(WrappersMP.DIFFUSION_MODEL, WRAPPER_KEY))


def check_patched(model: ModelPatcher) -> None:
    """Raises ValueError unless `model` is patched for references."""
    if not is_patched(model):
        raise ValueError(
            "model is not patched for a reference; needs Apply TASS-RoPE Patch between the model "
            "loader and the guider."
        )


def layout_choice(model: ModelPatcher) -> LayoutChoice:
    """Returns the `choice` that a patched `model` was patched with."""
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
    """Turns each conditioning's reference latents into arguments of the transformer.

    `executor.class_obj` is the guider; its `conds` are copies that live for this run. Raises
    ValueError, before any sampling, for a reference that does not fit the video, and if `choice`
    leaves to the weights what cannot be read off them.
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
    shapes = kwargs.get("latent_shapes") or [latent_image.shape]
    video_shape = shapes[0]
    check_video(video_shape, model.latent_format.latent_channels)
    check_windows(guider.model_options, video_shape[2])
    check_finite(latent_image, "latent_image")
    check_whole_frame(guider.conds)
    device, most = guider.model_patcher.load_device, torch.empty(0)
    slots = [each.slot for _, cond in carriers for each in cond.get(PLACED_REFERENCES, ())]
    layout = replace(decision.layout, num_slots=max(slots, default=-1) + 1)
    for stream, cond in carriers:
        references = cond[REFERENCE_LATENTS]
        placed = cond.get(PLACED_REFERENCES, ())
        have_own_size = {each.has_own_size for each in placed} == {True}
        check_references(references, stream, video_shape, have_own_size=have_own_size)
        frames = torch.cat([model.process_latent_in(each) for each in references])
        grid = video_grid(torch.empty(video_shape, device="meta"), cond.get("keyframe_idxs"))
        decision.check_frames(frames.shape, grid.num_frames)
        placed = placed or in_order(len(frames))
        tags = decision.tags_of([each.slot for each in placed])
        if tags is not None:
            frames = frames + tags.to(frames)[..., None, None, None]
        latent = frames.movedim(0, 1).flatten(1, 2)  # [C, K F, h, w]
        cond["model_conds"] = {
            **cond["model_conds"],
            # Windows over time cut any tensor whose third axis is as long as the video.
            REFERENCE_ARGUMENT: comfy.conds.CONDRegular(latent[None, :, None].to(device)),
            LAYOUT_ARGUMENT: comfy.conds.CONDConstant(layout),
            PLACED_ARGUMENT: comfy.conds.CONDConstant(placed),
        }
        most = max(most, latent, key=Tensor.numel)
        slots += [each.slot for each in placed]
    mask = _video_mask(kwargs.get("denoise_mask", args[2] if len(args) > 2 else None), shapes)
    for sentence in decision.beyond_training(
        {*slots},
        has_first_frame=keeps_first_frame(mask),
        is_single_frame=video_shape[2] == 1,
    ):
        log.warning(sentence)
    wrappers = guider.model_options["transformer_options"]["wrappers"]
    put_inside_easycache(wrappers)
    # It is added only now so that it stands inside wrappers that cut the shape down, as context
    # windows do. A run that is sampled in pieces comes here for each of them, and has it once.
    counting = wrappers.setdefault(WrappersMP.PREPARE_SAMPLING, {})
    counting[WRAPPER_KEY] = [partial(count_references, shape=most.shape)]
    return executor(noise, latent_image, *args, **kwargs)


def keeps_first_frame(mask: Tensor | None) -> bool:
    """Whether a video's denoise mask `[B, 1 or C, T, H, W]` leaves its first latent frame, and not
    all of it, as it is."""
    if mask is None or mask.ndim != 5:
        return False
    return not mask[:, :, 0].any() and bool(mask.any())


def _video_mask(mask: Tensor | None, shapes: Sequence[Sequence[int]]) -> Tensor | None:
    """Returns the video's part of a run's mask, which is packed where there is audio."""
    if mask is None or len(shapes) == 1:
        return mask
    return comfy.utils.unpack_latents(mask, shapes)[0]


def count_references(
    executor: WrapperExecutor,
    model: ModelPatcher,
    noise_shape: list[int],
    *args: Any,
    shape: torch.Size,
    **kwargs: Any,
) -> Any:
    """Adds the references' latent frames to the shape by which the host estimates its memory.

    `noise_shape` is `[B, C, T, H, W]`, or `[B, 1, N]` if audio and video are packed; `shape` is
    `[C, K F, h, w]`, that of the conditioning with the most reference tokens.

    The host multiplies the product of all axes but the first two by a factor. That of LTX-2 is for
    packed latents, where the product counts the channels too, so the estimate of a video alone
    would be C = 128 times too small: its shape is passed on in the packed form.
    """
    batch, channels, *sizes = noise_shape
    if len(sizes) == 3 and isinstance(model.model, LTXAV):
        channels, sizes = 1, [channels * math.prod(sizes)]
    # The axes that are counted hold the references' channels where a latent is packed.
    counted = math.prod(shape) if channels == 1 else math.prod(shape[1:])
    sizes[0] += math.ceil(counted / math.prod(sizes[1:]))
    return executor(model, [batch, channels, *sizes], *args, **kwargs)
