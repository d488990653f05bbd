"""What embeds prompts: the miniature's own encoder, or Gemma."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..ltx.text import TextEncoder, load_gemma
from .config import VIDEO_DIM
from .prompt import encode_prompt

# What is named where a folder of Gemma would be.
MINIATURE = "miniature"


class MiniatureText:
    """`TextEncoder` of the miniature LTX-2.3, which has no Gemma: the video's part of a prompt."""

    name = MINIATURE

    def encode(self, text: str) -> Tensor:
        return encode_prompt(text)[0, :, :VIDEO_DIM]


def open_text_encoder(name: str, checkpoint: Path, device: torch.device) -> TextEncoder:
    """The miniature's where `name` is its own, else Gemma of that folder with the checkpoint's
    connector; ValueError for what is not there."""
    return MiniatureText() if name == MINIATURE else load_gemma(name, checkpoint, device)
