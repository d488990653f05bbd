"""Apply TASS-RoPE Patch: makes an LTX model take an in-context reference."""

from __future__ import annotations

from comfy_api.latest import io

from ..stdrc_core.layout import Placement
from ..stdrc_core.reference import ReferenceTimestep
from .host import patch_model
from .shown import show_on_node
from .weights import LayoutChoice

AUTO = "auto"


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
                    options=[AUTO, *(placement.value for placement in Placement)],
                    default=AUTO,
                    tooltip=(
                        "Where the reference's tokens stand. auto is what the loaded ST-DRC "
                        "weights say that they were trained with, tass where they say nothing. "
                        "tass is the paper's; the others are its ablations: on the first frame "
                        "(overlap), moved in time only, or moved in space only."
                    ),
                ),
                io.Combo.Input(
                    "reference_timestep",
                    options=[AUTO, *(timestep.value for timestep in ReferenceTimestep)],
                    default=AUTO,
                    tooltip=(
                        "Timestep of the reference's tokens: 0 (clean, as LTX treats conditioning "
                        "frames) or the video's own (shared). auto is what the weights say, clean "
                        "where they say nothing."
                    ),
                    advanced=True,
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, model: io.Model.Type, placement: str, reference_timestep: str
    ) -> io.NodeOutput:
        choice = LayoutChoice(
            placement=None if placement == AUTO else Placement(placement),
            reference_timestep=(
                None if reference_timestep == AUTO else ReferenceTimestep(reference_timestep)
            ),
        )
        patched = patch_model(model, choice)
        sentence = choice.decide(patched).sentence
        if choice.needs_weights:
            sentence += " LoRAs after this node count too."
        show_on_node(cls, sentence)
        return io.NodeOutput(patched)
