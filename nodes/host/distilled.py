"""Distilled weights in the host: one pass, and their scales as a patch of one bias.

Weights of a range are told s_y and s_r by an embedding that is added to the timestep's. For one run
it is a constant, so that adding it is the same as raising the last bias of the timestep's embedding
by it. The host has patches of weights for that: no module is touched, and it goes with LoRAs, low
precision, offloading and compilation as any LoRA does.
"""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher

from ...stdrc_core.ltx.distilled import Distilled
from ...stdrc_core.ltx.guidance_embedding import LTX_BIAS, GuidanceEmbedding
from ...stdrc_core.ltx.reference_layout import Decision
from ...stdrc_core.method.guidance_options import GuidanceOptions
from .weights import decide_layout, find_guidance_embedding
from .wrapper import is_patched, layout_choice

_KEY = f"diffusion_model.{LTX_BIAS}"


def distilled_weights(model: ModelPatcher) -> Distilled | None:
    """Returns the guidance that the weights on `model` have inside; None where they have none."""
    decision = _decision(model)
    return None if decision is None else decision.distilled


def in_one_pass(model: ModelPatcher, options: GuidanceOptions) -> GuidanceOptions:
    """Returns the options that a run of `model` samples with (`Distilled.in_one_pass`).

    Raises ValueError for curves of weights that are told their scales.
    """
    distilled = distilled_weights(model)
    return options if distilled is None else distilled.in_one_pass(options, (1.0, 1.0))[0]


def with_embedded_scales(model: ModelPatcher, options: GuidanceOptions) -> ModelPatcher:
    """Returns `model`, or for weights of a range a clone that is told the scales of `options`.

    Raises ValueError for curves, and where the file with the embedding is not found.
    """
    decision = _decision(model)
    if decision is None or decision.distilled is None:
        return model
    begin = (decision.text_scale, decision.reference_scale)
    _, scales = decision.distilled.in_one_pass(options, begin)
    if scales is None:
        return model
    change = _embedding(model).bias_change(*scales)
    told = model.clone()
    told.add_patches({_KEY: ("diff", (change,))})
    return told


def _decision(model: ModelPatcher) -> Decision | None:
    """What the weights say; None where they cannot be read, which the run itself tells of."""
    if not is_patched(model):
        return None
    try:
        return decide_layout(layout_choice(model), model)
    except ValueError:
        return None


def _embedding(model: ModelPatcher) -> GuidanceEmbedding:
    embedding = find_guidance_embedding(layout_choice(model).lora_files)
    if embedding is None:
        raise ValueError(
            "model is distilled for a range of scales, and the file of its LoRA, which has their "
            "embedding, was not found; needs it: put its loader before Apply TASS-RoPE Patch in "
            "the workflow."
        )
    return embedding
