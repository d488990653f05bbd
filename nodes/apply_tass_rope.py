"""Apply TASS-RoPE Patch: makes an LTX model take an in-context reference."""

from __future__ import annotations

from comfy_api.latest import io

from ..stdrc_core.ltx.adapters import KNOWN, known_by_name
from ..stdrc_core.ltx.reference_layout import LayoutChoice
from ..stdrc_core.method.layout import Placement
from ..stdrc_core.method.reference import ReferenceTimestep
from ..stdrc_core.method.source_phase import SourcePhase
from .host.weights import decide_layout
from .host.workflow import lora_files_before
from .host.wrapper import patch_model
from .node_message import show_on_node

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
                        "Where the reference's tokens stand. auto is what the loaded weights or "
                        "adapters were trained with, tass where that is not known. "
                        "tass is the paper's; overlap (on the first frame), temporal_only and "
                        "spatial_only are its ablations. overlap_source_phase is for "
                        "Best-Face-ID adapters; strata (after the clip), sidecar (beside it) and "
                        "bfs_st_drc are for adapters that were trained with these; before_clip is "
                        "Licon MSR's for LTX-2.5."
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
                io.Float.Input(
                    "source_id",
                    optional=True,
                    default=SourcePhase.source_id,
                    min=0.0,
                    max=64.0,
                    step=1.0,
                    tooltip=(
                        "Which source the reference is, told by turning its RoPE angles: only "
                        "overlap_source_phase, strata, sidecar and bfs_st_drc heed it. Public "
                        "adapters were trained with 2; a second reference has the next number. "
                        "0 turns nothing."
                    ),
                    advanced=True,
                ),
                io.Float.Input(
                    "phase_scale",
                    optional=True,
                    default=SourcePhase.scale,
                    min=0.0,
                    max=16.0,
                    step=0.1,
                    tooltip="Multiplies source_id. Public adapters were trained with 1.",
                    advanced=True,
                ),
                io.Int.Input(
                    "temporal_offset",
                    optional=True,
                    default=0,
                    min=-16,
                    max=16,
                    tooltip=(
                        "Moves the reference in time, in latent steps of 8 frames. With overlap, "
                        "-1 or -2 puts it before the first frame, so that it shows less at the "
                        "clip's start; 0 is what adapters were trained with unless they say so."
                    ),
                    advanced=True,
                ),
                io.Combo.Input(
                    "adapter",
                    optional=True,
                    options=[AUTO, *(adapter.name for adapter in KNOWN)],
                    default=AUTO,
                    tooltip=(
                        "A public adapter whose LoRA is on the model: gives auto its placement, "
                        "and shows its prompt prefix and scales on the node. auto knows it by its "
                        "metadata, or by its file's name."
                    ),
                    advanced=True,
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        placement: str,
        reference_timestep: str,
        source_id: float = SourcePhase.source_id,
        phase_scale: float = SourcePhase.scale,
        temporal_offset: int = 0,
        adapter: str = AUTO,
    ) -> io.NodeOutput:
        choice = LayoutChoice(
            placement=None if placement == AUTO else Placement(placement),
            reference_timestep=(
                None if reference_timestep == AUTO else ReferenceTimestep(reference_timestep)
            ),
            source_phase=SourcePhase(source_id=source_id, scale=phase_scale),
            temporal_offset=temporal_offset,
            adapter=known_by_name(adapter),
            lora_files=cls._lora_files(),
        )
        patched = patch_model(model, choice)
        sentence = decide_layout(choice, patched).sentence
        if choice.needs_weights:
            sentence += " LoRAs after this node count too."
        show_on_node(cls, sentence)
        return io.NodeOutput(patched)

    @classmethod
    def _lora_files(cls) -> tuple[str, ...]:
        """Returns the names of the workflow's LoRAs before this node; a script has no workflow."""
        if cls.hidden is None or not cls.hidden.prompt:
            return ()
        return lora_files_before(cls.hidden.prompt, str(cls.hidden.unique_id))
