"""Parse Prompts: a language model's two answers, repaired where they break a rule of IPVG-STD
(docs/method.md section 8)."""

from __future__ import annotations

from comfy_api.latest import io

from ..stdrc_core.prompts.decouple import Request, decouple
from .decouple_prompt import PromptRequest
from .node_message import show_on_node


class STDRCParsePrompts(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCParsePrompts",
            display_name="Parse Prompts",
            category="ST-DRC",
            description=(
                "Takes a language model's two answers out of what is around them, holds them to "
                "the rules of a first frame and of a motion, and repairs what breaks one. Without "
                "an answer the prompt is split by rules."
            ),
            search_aliases=["st-drc", "ipvg-std", "prompt", "llm", "first frame", "staged"],
            inputs=[
                PromptRequest.Input("request", tooltip="From Decouple Prompt."),
                io.String.Input(
                    "spatial_answer",
                    force_input=True,
                    optional=True,
                    tooltip=(
                        "The answer to the spatial instruction. If it is not connected, rules "
                        "split the prompt."
                    ),
                ),
                io.String.Input(
                    "temporal_answer",
                    force_input=True,
                    optional=True,
                    tooltip=(
                        "The answer to the temporal instruction. If it is not connected, rules "
                        "split the prompt."
                    ),
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="spatial",
                    tooltip='The first frame\'s prompt: phrases that end with "close-up".',
                ),
                io.String.Output(
                    display_name="temporal",
                    tooltip="The clip's prompt: the subject's action first, with a facial cue.",
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="Where the gender comes from, and what was changed: one note a line.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        request: Request,
        spatial_answer: str | None = None,
        temporal_answer: str | None = None,
    ) -> io.NodeOutput:
        made = decouple(request, spatial_answer, temporal_answer)
        show_on_node(cls, made.report)
        return io.NodeOutput(made.spatial, made.temporal, made.report)
