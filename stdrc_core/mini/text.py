"""The miniature's own text encoder, in the place of Gemma."""

from __future__ import annotations

from torch import Tensor

from .config import VIDEO_DIM
from .prompt import encode_prompt

# Its name, which is given where a folder of Gemma would be.
MINIATURE = "miniature"


class MiniatureText:
    """The `TextEncoder` of the miniature LTX-2.3: the video's part of `encode_prompt`."""

    name = MINIATURE

    def encode(self, text: str) -> Tensor:
        """The embedding of a prompt, `[32, D]` float32 on the CPU; words beyond 32 are left out."""
        return encode_prompt(text)[0, :, :VIDEO_DIM]


STAND_INS = {MINIATURE: MiniatureText()}
"""What `ltx.text.open_text_encoder` takes as stand-ins for Gemma, by name."""
