"""Miniature Prompt: the miniature's stand-in for the Gemma text encoder."""

from __future__ import annotations

from comfy_api.latest import io

from ..stdrc_core.mini.prompt import encode_prompt


class STDRCMiniPrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCMiniPrompt",
            display_name="Miniature Prompt",
            category="ST-DRC/miniature",
            description=(
                "Prompt for the miniature LTX-2.3, which has no Gemma. For no other model: the "
                "width of the text embedding is the miniature's."
            ),
            inputs=[
                io.String.Input("text", multiline=True, default="", tooltip="The prompt."),
            ],
            outputs=[io.Conditioning.Output(display_name="conditioning")],
        )

    @classmethod
    def execute(cls, text: str) -> io.NodeOutput:
        return io.NodeOutput([[encode_prompt(text), {}]])
