"""The shipped miniature: its files beside this one, and what embeds its prompts."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from .config import VIDEO_DIM
from .prompt import encode_prompt

_FOLDER = Path(__file__).parent / "weights"
CHECKPOINT = _FOLDER / "stdrc_mini.safetensors"
FACES = _FOLDER / "faces"
# What is named where a folder of Gemma would be.
MINIATURE = "miniature"


class MiniatureText:
    """`TextEncoder` of the miniature LTX-2.3, which has no Gemma: the video's part of a prompt."""

    name = MINIATURE

    def encode(self, text: str) -> Tensor:
        return encode_prompt(text)[0, :, :VIDEO_DIM]
