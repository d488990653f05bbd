"""Miniature Character: the photo of a drawn person, as a reference for the miniature."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..stdrc_core.mini.photo import unseen_photo


class STDRCMiniCharacter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCMiniCharacter",
            display_name="Miniature Character",
            category="ST-DRC/miniature",
            description=(
                "Draws the photo of a character that the miniature has never seen: its reference. "
                "The miniature knows drawn characters only, and no real person."
            ),
            inputs=[
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Whom to draw, and where.",
                ),
            ],
            outputs=[io.Image.Output(display_name="image")],
        )

    @classmethod
    def execute(cls, seed: int) -> io.NodeOutput:
        image = torch.from_numpy(unseen_photo(seed))[None].float() / 255
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))
