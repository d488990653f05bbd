"""The miniature's own text encoder, in the place of Gemma."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import VIDEO_DIM

if TYPE_CHECKING:
    from torch import Tensor

# Its name, which is given where a folder of Gemma would be.
MINIATURE = "miniature"


class MiniatureText:
    """The `TextEncoder` of the miniature LTX-2.3: the video's part of `encode_prompt`."""

    name = MINIATURE

    def encode(self, text: str) -> Tensor:
        """The embedding of a prompt, `[32, D]` float32 on the CPU; words beyond 32 are left out."""
        # The command line tells of the miniature by name, and should not wait for torch.
        from .prompt import encode_prompt

        return encode_prompt(text)[0, :, :VIDEO_DIM]


STAND_INS = {MINIATURE: MiniatureText()}
"""What `ltx.text.open_text_encoder` takes as stand-ins for Gemma, by name."""
