"""Three-Stream Ref CFG Guider: text and reference guided separately (Eq. 13)."""

from __future__ import annotations

from comfy_api.latest import io

from ..stdrc_core.method.guidance_curve import GuidanceCurve
from ..stdrc_core.method.guidance_options import EXACT
from .guidance_inputs import (
    audio_input,
    chosen_options,
    make_guider,
    over_time_inputs,
    scale_inputs,
    stream_inputs,
    window_inputs,
)


class STDRCThreeStreamCFGGuider(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCThreeStreamCFGGuider",
            display_name="Three-Stream Ref CFG Guider",
            category="ST-DRC",
            description=(
                "Guides text and reference separately: v0 + s_y (vy - v0) + s_r (vyr - vy). "
                "For SamplerCustomAdvanced."
            ),
            search_aliases=["st-drc", "reference", "identity", "cfg", "dual cfg"],
            inputs=[
                *stream_inputs(),
                *scale_inputs(),
                *window_inputs(),
                *over_time_inputs(),
                audio_input(),
            ],
            outputs=[io.Guider.Output(display_name="guider")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        positive: list,
        negative: list,
        reference: io.Latent.Type,
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
        audio_scale: float | None = None,
    ) -> io.NodeOutput:
        options = chosen_options(
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
        )
        guider = make_guider(model, positive, negative, reference, options, preset, cls)
        return io.NodeOutput(guider)
