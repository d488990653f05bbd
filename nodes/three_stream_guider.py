"""Three-Stream Ref CFG Guider and Sampler: text and reference guided separately (Eq. 13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced
from torch import Tensor

from ..stdrc_core.method.guidance import REFERENCE_SCALE, TEXT_SCALE
from ..stdrc_core.method.guidance_curve import CurveShape, GuidanceCurve
from ..stdrc_core.method.guidance_plan import EXACT, PRESETS, GuidancePlan, check_window
from ..stdrc_core.method.multi_reference import PlacedReference, with_common_scale
from .host.checks import check_reference
from .host.three_streams import ThreeStreamGuider
from .host.wrapper import is_patched
from .reference_list import placed_references

# What Guidance Curve gives: a GuidanceCurve.
Curve = io.Custom("STDRC_GUIDANCE_CURVE")


def make_guider(
    *,
    model: ModelPatcher,
    positive: list,
    negative: list,
    reference: dict[str, Tensor],
    **numbers: Any,
) -> ThreeStreamGuider:
    """Checks the inputs of both nodes and builds the guider; raises ValueError for a bad one.

    `numbers` are those of `guidance_of`.
    """
    if not is_patched(model):
        raise ValueError(
            "model is not patched for a reference; needs Apply TASS-RoPE Patch between the model "
            "loader and this node."
        )
    for name, conditioning in (("positive", positive), ("negative", negative)):
        if not conditioning:
            raise ValueError(
                f"{name} is an empty conditioning; needs an encoded prompt: connect a text encoder "
                "(an empty text is fine)."
            )
    samples = reference["samples"]
    check_reference(samples, "reference", model.model.latent_format.latent_channels)
    guidance, placed = guidance_of(model, placed_references(reference), **numbers)
    guider = ThreeStreamGuider(model, guidance)
    guider.set_streams(positive, negative, samples, placed)
    return guider


def guidance_of(
    model: ModelPatcher,
    placed: Sequence[PlacedReference],
    *,
    text_scale: float,
    reference_scale: float,
    start_percent: float = EXACT.start_percent,
    end_percent: float = EXACT.end_percent,
    guidance_rescale: float = 0.0,
    reference_every: int = EXACT.reference_every,
    guided_share: float = EXACT.guided_share,
    preset: str = "exact",
    text_curve: GuidanceCurve | None = None,
    reference_curve: GuidanceCurve | None = None,
) -> tuple[GuidancePlan, tuple[PlacedReference, ...]]:
    """The guidance over a run of `model`, and the references without the scale that all share.

    Raises ValueError for numbers out of their ranges.
    """
    over_time = PRESETS[preset].filling(
        start_percent=start_percent,
        end_percent=end_percent,
        reference_every=reference_every,
        guided_share=guided_share,
    )
    start_percent, end_percent = over_time.pop("start_percent"), over_time.pop("end_percent")
    check_window(start_percent, end_percent)
    scale = reference_scale if reference_curve is None else reference_curve
    scale, placed = with_common_scale(scale, placed)
    sampling = model.get_model_object("model_sampling")
    plan = GuidancePlan(
        text=text_scale if text_curve is None else text_curve,
        reference=scale,
        start_sigma=sampling.percent_to_sigma(start_percent),
        end_sigma=sampling.percent_to_sigma(end_percent),
        rescale=guidance_rescale,
        **over_time,
    )
    return plan, placed


def _stream_inputs() -> list[io.Input]:
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
    return [
        _scale_input(
            "text_scale",
            TEXT_SCALE,
            "s_y: how strongly the prompt is followed. At 1 the empty stream does not run.",
        ),
        _scale_input(
            "reference_scale",
            REFERENCE_SCALE,
            "s_r: how strongly the face is kept. Equal to text_scale, one stream of the three "
            "does not run; at 0 the reference is not used (within start and end percent).",
        ),
    ]


def window_inputs() -> list[io.Input]:
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
    """Last, as workflows save widgets by their position."""
    return [
        io.Float.Input(
            "guidance_rescale",
            optional=True,
            default=0.0,
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
                f"fast takes {PRESETS['fast'].reference_every} for reference_every and "
                f"{PRESETS['fast'].guided_share} for guided_share, where these are at 1."
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


class STDRCGuidanceCurve(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        sigma = {"min": 0.0, "max": 1.0, "step": 0.01, "advanced": True}
        value = {"min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}
        return io.Schema(
            node_id="STDRCGuidanceCurve",
            display_name="Guidance Curve",
            category="ST-DRC",
            description=(
                "A guidance scale that changes while sampling, as a function of the noise level "
                "sigma. For the text_curve or reference_curve of the three-stream nodes."
            ),
            search_aliases=["st-drc", "cfg schedule", "dynamic cfg", "guidance schedule"],
            inputs=[
                io.Float.Input(
                    "start", default=TEXT_SCALE, **value, tooltip="The scale at high noise."
                ),
                io.Float.Input(
                    "end",
                    default=1.0,
                    **value,
                    tooltip="The scale at low noise. Where text_scale is 1, v0 does not run.",
                ),
                io.Combo.Input(
                    "shape",
                    options=[str(shape) for shape in CurveShape],
                    default=str(CurveShape.LINEAR),
                    tooltip="early and late say when most of the change happens.",
                ),
                io.Float.Input(
                    "start_sigma",
                    default=1.0,
                    **sigma,
                    tooltip="Above this noise level the scale is start. Sampling begins at 1.",
                ),
                io.Float.Input(
                    "end_sigma",
                    default=0.0,
                    **sigma,
                    tooltip="Below this noise level the scale is end. Sampling ends at 0.",
                ),
            ],
            outputs=[Curve.Output(display_name="curve")],
        )

    @classmethod
    def execute(cls, shape: str, **numbers: float) -> io.NodeOutput:
        return io.NodeOutput(GuidanceCurve(shape=CurveShape(shape), **numbers))


class STDRCThreeStreamGuider(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCThreeStreamGuider",
            display_name="Three-Stream Ref CFG Guider",
            category="ST-DRC",
            description=(
                "Guides text and reference separately: v0 + s_y (vy - v0) + s_r (vyr - vy). "
                "For SamplerCustomAdvanced."
            ),
            search_aliases=["st-drc", "reference", "identity", "cfg", "dual cfg"],
            inputs=[*_stream_inputs(), *scale_inputs(), *window_inputs(), *over_time_inputs()],
            outputs=[io.Guider.Output(display_name="guider")],
        )

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        return io.NodeOutput(make_guider(**inputs))


class STDRCThreeStreamSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCThreeStreamSampler",
            display_name="Three-Stream Ref CFG Sampler",
            category="ST-DRC",
            description="The Three-Stream Ref CFG Guider and SamplerCustomAdvanced in one node.",
            search_aliases=["st-drc", "reference", "identity", "cfg", "ksampler"],
            inputs=[
                *_stream_inputs(),
                io.Int.Input(
                    "noise_seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                ),
                *scale_inputs(),
                io.Sampler.Input("sampler"),
                io.Sigmas.Input("sigmas"),
                io.Latent.Input("latent_image", tooltip="The video latent to sample."),
                *window_inputs(),
                *over_time_inputs(),
            ],
            outputs=[
                io.Latent.Output(display_name="output"),
                io.Latent.Output(display_name="denoised_output"),
            ],
        )

    @classmethod
    def execute(
        cls,
        noise_seed: int,
        sampler: io.Sampler.Type,
        sigmas: io.Sigmas.Type,
        latent_image: io.Latent.Type,
        **inputs: Any,
    ) -> io.NodeOutput:
        return SamplerCustomAdvanced.execute(
            Noise_RandomNoise(noise_seed), make_guider(**inputs), sampler, sigmas, latent_image
        )
