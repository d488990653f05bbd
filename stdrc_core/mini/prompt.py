"""Embeds prompts for the miniature, which has no Gemma."""

from __future__ import annotations

import hashlib
import re

import torch
from torch import Tensor

from .config import CONTEXT_DIM

NUM_TOKENS = 32
# The shares that the word, the word before it (so that "red shirt" is not "red wall") and the place
# have of a token's variance.
_SHARES = (0.5, 0.35, 0.15)


def encode_prompt(text: str) -> Tensor:
    """The embedding of a prompt, `[1, NUM_TOKENS, CONTEXT_DIM]` float32; each token has variance 1.

    Each word, whatever its letter case, is a fixed random vector; a word's token holds that vector,
    the one of the word before it and the one of its place. Words beyond NUM_TOKENS are left out;
    unused tokens hold the vector of the empty word, so that all prompts have one shape and the host
    can batch their streams. The same text always gives the same tensor.
    """
    words = re.findall(r"\w+", text.lower())[:NUM_TOKENS]
    tokens = []
    for i in range(NUM_TOKENS):
        if i < len(words):
            before = words[i - 1] if i else ""
            parts = (_vector("word", words[i]), _vector("before", before), _vector("place", str(i)))
            tokens.append(sum(s**0.5 * part for s, part in zip(_SHARES, parts, strict=True)))
        else:
            tokens.append(_vector("word", ""))
    embedding = torch.stack(tokens)[None]
    centred = embedding - embedding.mean(dim=2, keepdim=True)
    return centred / centred.std(dim=2, keepdim=True)


def _vector(role: str, name: str) -> Tensor:
    digest = hashlib.blake2b(f"{role} {name}".encode(), digest_size=7).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
    return torch.randn(CONTEXT_DIM, generator=generator)
