"""Three-Stream Ref CFG Sampler: the guider and SamplerCustomAdvanced in one node."""

from __future__ import annotations

from comfy_api.latest import io
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced

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
                *stream_inputs(),
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
                audio_input(),
            ],
            outputs=[
                io.Latent.Output(display_name="output"),
                io.Latent.Output(display_name="denoised_output"),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        positive: list,
        negative: list,
        reference: io.Latent.Type,
        noise_seed: int,
        text_scale: float,
        reference_scale: float,
        sampler: io.Sampler.Type,
        sigmas: io.Sigmas.Type,
        latent_image: io.Latent.Type,
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
        return SamplerCustomAdvanced.execute(
            Noise_RandomNoise(noise_seed), guider, sampler, sigmas, latent_image
        )
