"""Prompt to text embedding for the miniature, which has no Gemma."""

from __future__ import annotations

import hashlib
import re

import torch
from torch import Tensor

from .config import CONTEXT_DIM

NUM_TOKENS = 32


def encode_prompt(text: str) -> Tensor:
    """`[1, NUM_TOKENS, CONTEXT_DIM]` float32 of unit variance; the same text, the same tensor.

    Each word (letter case does not matter) is a fixed random vector, turned by its position so
    that word order counts. Words beyond NUM_TOKENS are left out; unused tokens hold the vector of
    the empty word, so that all prompts have one shape and the host can batch their streams.
    """
    words = re.findall(r"\w+", text.lower())[:NUM_TOKENS]
    words += [""] * (NUM_TOKENS - len(words))
    return torch.stack([_word_vector(word, i) for i, word in enumerate(words)])[None]


def _word_vector(word: str, position: int) -> Tensor:
    digest = hashlib.blake2b(f"{position} {word}".encode(), digest_size=7).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
    return torch.randn(CONTEXT_DIM, generator=generator)
