"""The miniature's own text encoder, in the place of Gemma."""

from __future__ import annotations

from torch import Tensor

from .config import VIDEO_DIM
from .prompt import encode_prompt

# What is named where a folder of Gemma would be.
MINIATURE = "miniature"


class MiniatureText:
    """`TextEncoder` of the miniature LTX-2.3, which has no Gemma: the video's part of a prompt."""

    name = MINIATURE

    def encode(self, text: str) -> Tensor:
        """`[32, D]` float32 on the CPU; words beyond the 32nd are left out."""
        return encode_prompt(text)[0, :, :VIDEO_DIM]


STAND_INS = {MINIATURE: MiniatureText()}
"""For `ltx.text.open_text_encoder`."""
