"""Apply TASS-RoPE Patch: makes an LTX model take an in-context reference."""

from __future__ import annotations

from comfy_api.latest import io

from ..stdrc_core.layout import Placement
from ..stdrc_core.reference import ReferenceTimestep
from .host import patch_model


class STDRCApplyTASSRoPE(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCApplyTASSRoPE",
            display_name="Apply TASS-RoPE Patch",
            category="ST-DRC",
            description=(
                "Lets an LTX model take a reference photo as in-context tokens, placed by "
                "TASS-RoPE at (T, H+i, W+j). Without a reference nothing changes."
            ),
            search_aliases=["st-drc", "reference", "identity", "face", "ltx"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="LTX-Video 0.9.x or LTX-2; LoRAs may come before or after."
                ),
                io.Combo.Input(
                    "placement",
                    options=Placement,
                    default=Placement.TASS,
                    tooltip=(
                        "Where the reference's tokens stand. tass is the paper's; the others are "
                        "its ablations: on the first frame (overlap), moved in time only, or moved "
                        "in space only. Use what the weights were trained with."
                    ),
                ),
                io.Combo.Input(
                    "reference_timestep",
                    options=ReferenceTimestep,
                    default=ReferenceTimestep.CLEAN,
                    tooltip=(
                        "Timestep of the reference's tokens: 0 (clean, as LTX treats conditioning "
                        "frames) or the video's own (shared)."
                    ),
                    advanced=True,
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(
        cls, model: io.Model.Type, placement: str, reference_timestep: str
    ) -> io.NodeOutput:
        return io.NodeOutput(
            patch_model(model, Placement(placement), ReferenceTimestep(reference_timestep))
        )
