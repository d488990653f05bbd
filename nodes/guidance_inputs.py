"""What the guider, the sampler and the inspection share: inputs, the options and the guider.

The inputs of a schema come in groups, because workflows save widgets by their position and each
node has its own inputs between them.
"""

from __future__ import annotations

import logging

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..stdrc_core.ltx.distilled import UNDISTILLED
from ..stdrc_core.method.guidance_curve import GuidanceCurve
from ..stdrc_core.method.guidance_options import (
    EXACT,
    PRESETS,
    GuidanceOptions,
    with_preset,
)
from ..stdrc_core.method.multi_reference import with_common_scale
from .guidance_curve import Curve
from .host.checks import check_prompts, check_reference
from .host.distilled import distilled_weights, in_one_pass, with_embedded_scales
from .host.three_streams import ThreeStreamGuider
from .host.weights import decide_layout
from .host.wrapper import check_patched, layout_choice
from .node_message import show_on_node
from .reference_list import placed_references

log = logging.getLogger(__name__)


def chosen_options(
    *,
    text_scale: float,
    reference_scale: float,
    start_percent: float,
    end_percent: float,
    guidance_rescale: float,
    reference_every: int,
    guided_share: float,
    preset: str,
    text_curve: GuidanceCurve | None,
    reference_curve: GuidanceCurve | None,
    audio_scale: float | None,
) -> GuidanceOptions:
    """Makes the guidance's options of a node's widgets (docs/method.md section 12).

    A curve takes the place of its scale, and the preset's numbers that of widgets at their
    defaults. Raises ValueError for numbers out of their ranges.
    """
    chosen = {
        "text_scale": text_scale if text_curve is None else text_curve,
        "reference_scale": reference_scale if reference_curve is None else reference_curve,
        "start_percent": start_percent,
        "end_percent": end_percent,
        "guidance_rescale": guidance_rescale,
        "reference_every": reference_every,
        "guided_share": guided_share,
        "audio_scale": audio_scale,
    }
    return GuidanceOptions(**with_preset(preset, chosen))


def make_guider(
    model: ModelPatcher,
    positive: list,
    negative: list,
    reference: dict[str, Tensor],
    options: GuidanceOptions,
    preset: str,
    node: type[io.ComfyNode],
) -> ThreeStreamGuider:
    """Makes the guider of both nodes of their inputs.

    `reference` is a LATENT with samples `[K, C, 1, H, W]`. What is asked of the weights that they
    are not made for is shown on `node`, whose schema has to ask for `io.Hidden.unique_id`. Raises
    ValueError for a model that is not patched, an empty conditioning, samples that are no
    references of this model, and where what the weights were trained for is needed and cannot be
    read.
    """
    check_patched(model)
    check_prompts(positive, negative)
    samples = reference["samples"]
    check_reference(samples, "reference", model.model.latent_format.latent_channels)
    options, placed = with_common_scale(options, placed_references(reference))
    said: list[str] = []
    distilled = distilled_weights(model)
    if distilled is None:
        doubt = UNDISTILLED if preset == "one-pass" else None
    else:
        doubt = distilled.doubt(options)
    if doubt is not None:
        log.warning("%s", doubt)
        said.append(doubt)
    if distilled is not None:
        model, options = with_embedded_scales(model, options), in_one_pass(model, options)
    decision = decide_layout(layout_choice(model), model)
    # What else a run asks of the weights is known, and told by the log, when it begins.
    slots = {each.slot for each in placed}
    said += decision.beyond_training(slots, has_first_frame=False, is_single_frame=False)
    show_on_node(node, " ".join(said))
    return ThreeStreamGuider(model, positive, negative, samples, placed=placed, options=options)


def stream_inputs() -> list[io.Input]:
    """Returns the model and what the three streams see; the first inputs of both nodes."""
    return [
        io.Model.Input("model", tooltip="An LTX model from Apply TASS-RoPE Patch."),
        io.Conditioning.Input("positive", tooltip="The prompt."),
        io.Conditioning.Input(
            "negative", tooltip="What the guidance moves away from; the paper uses an empty prompt."
        ),
        io.Latent.Input(
            "reference",
            tooltip=(
                "From Encode Reference Latent, at this size: one photo, a batch, or a Reference "
                "List of several."
            ),
        ),
    ]


def _scale_input(name: str, default: float, tooltip: str) -> io.Input:
    return io.Float.Input(
        name, default=default, min=0.0, max=100.0, step=0.1, round=0.01, tooltip=tooltip
    )


def scale_inputs() -> list[io.Input]:
    """Returns the two scales of Eq. 13."""
    return [
        _scale_input(
            "text_scale",
            EXACT.text_scale,
            "s_y: how strongly the prompt is followed. At 1 the empty stream does not run.",
        ),
        _scale_input(
            "reference_scale",
            EXACT.reference_scale,
            "s_r: how strongly the face is kept. Equal to text_scale, one stream of the three "
            "does not run; at 0 the reference is not used (within start and end percent).",
        ),
    ]


def window_inputs() -> list[io.Input]:
    """Returns the part of sampling in which text and reference are guided separately."""
    return [
        io.Float.Input(
            name,
            optional=True,
            default=default,
            min=0.0,
            max=1.0,
            step=0.001,
            advanced=True,
            tooltip=(
                f"Text and reference are guided separately {word} this part of sampling; outside, "
                "together (reference_scale = text_scale), which saves a stream."
            ),
        )
        for name, default, word in (
            ("start_percent", EXACT.start_percent, "from"),
            ("end_percent", EXACT.end_percent, "until"),
        )
    ]


def over_time_inputs() -> list[io.Input]:
    """Returns what was added for guidance over time; it has to come last in a schema."""
    return [
        io.Float.Input(
            "guidance_rescale",
            optional=True,
            default=EXACT.guidance_rescale,
            min=0.0,
            max=1.0,
            step=0.01,
            advanced=True,
            tooltip=(
                "Brings the contrast of the guided result back to that of the prediction with text "
                "and reference (Lin et al. 2024): 1 fully, 0 is off. LTX-2's own pipeline has 0.7."
            ),
        ),
        io.Int.Input(
            "reference_every",
            optional=True,
            default=EXACT.reference_every,
            min=1,
            max=64,
            advanced=True,
            tooltip=(
                "The reference's direction is computed every so many steps and used again between, "
                "which saves the reference's stream there. 1 is exact."
            ),
        ),
        io.Float.Input(
            "guided_share",
            optional=True,
            default=EXACT.guided_share,
            min=0.0,
            max=1.0,
            step=0.01,
            advanced=True,
            tooltip=(
                "Share of the steps, from the first, that are guided; after them the stream with "
                "text and reference runs alone, one of three. 1 is exact."
            ),
        ),
        io.Combo.Input(
            "preset",
            optional=True,
            options=list(PRESETS),
            default="exact",
            tooltip=(
                f"fast takes {PRESETS['fast']['reference_every']} for reference_every and "
                f"{PRESETS['fast']['guided_share']} for guided_share, where these are at 1. "
                "one-pass is for distilled weights: it takes 1 for both scales where they are at "
                "their defaults, so that one stream runs."
            ),
        ),
        *(
            Curve.Input(
                f"{name}_curve",
                optional=True,
                tooltip=f"From Guidance Curve; takes the place of {name}_scale.",
            )
            for name in ("text", "reference")
        ),
    ]


def audio_input() -> io.Input:
    """Returns the audio's own scale; a socket, so that nothing connected can mean the text's."""
    return io.Float.Input(
        "audio_scale",
        optional=True,
        min=0.0,
        max=100.0,
        force_input=True,
        tooltip=(
            "s_a: how strongly audio that is sampled with the video follows the prompt. Not "
            "connected, it is text_scale."
        ),
    )
