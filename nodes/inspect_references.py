"""Inspect References: what will run, where the references stand, and what is wrong."""

from __future__ import annotations

from functools import partial
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..stdrc_core.method.guidance_curve import GuidanceCurve
from ..stdrc_core.method.guidance_options import EXACT
from .guidance_inputs import (
    audio_input,
    chosen_options,
    over_time_inputs,
    scale_inputs,
    window_inputs,
)
from .inspection_report import report_lines
from .inspection_setup import Setup


class STDRCInspect(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCInspect",
            display_name="Inspect References",
            category="ST-DRC",
            description=(
                "Says which streams will run when and with how many tokens, where the references "
                "stand, what the adapters' metadata say, and what is wrong. Nothing is sampled."
            ),
            search_aliases=["st-drc", "check", "debug", "self check", "identity"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The model as the guider gets it."),
                io.Conditioning.Input("positive", tooltip="As for the guider."),
                io.Conditioning.Input("negative", tooltip="As for the guider."),
                io.Latent.Input("reference", tooltip="As for the guider."),
                io.Latent.Input("latent_image", tooltip="The video latent that will be sampled."),
                *scale_inputs(),
                *window_inputs(),
                *over_time_inputs(),
                io.Sigmas.Input(
                    "sigmas",
                    optional=True,
                    tooltip=(
                        "The run's sigmas. With them the report goes step by step and counts the "
                        "forwards."
                    ),
                ),
                audio_input(),
            ],
            outputs=[io.String.Output(display_name="report")],
        )

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        positive: list,
        negative: list,
        reference: dict[str, Any],
        latent_image: dict[str, Any],
        text_scale: float,
        reference_scale: float,
        start_percent: float = EXACT.start_percent,
        end_percent: float = EXACT.end_percent,
        guidance_rescale: float = EXACT.guidance_rescale,
        reference_every: int = EXACT.reference_every,
        guided_share: float = EXACT.guided_share,
        preset: str = "exact",
        text_curve: GuidanceCurve | None = None,
        reference_curve: GuidanceCurve | None = None,
        sigmas: Tensor | None = None,
        audio_scale: float | None = None,
    ) -> io.NodeOutput:
        setup = Setup(
            model=model,
            positive=positive,
            negative=negative,
            latent_image=latent_image,
            reference=reference,
            # Made later, so that numbers out of range are a line of the report like other mistakes.
            read_options=partial(
                chosen_options,
                text_scale=text_scale,
                reference_scale=reference_scale,
                start_percent=start_percent,
                end_percent=end_percent,
                guidance_rescale=guidance_rescale,
                reference_every=reference_every,
                guided_share=guided_share,
                preset=preset,
                text_curve=text_curve,
                reference_curve=reference_curve,
                audio_scale=audio_scale,
            ),
            sigmas=sigmas,
        )
        report = "\n".join(report_lines(setup))
        return io.NodeOutput(report, ui=ui.PreviewText(report))
