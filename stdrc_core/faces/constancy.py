"""Temporal identity consistency: how much a clip stays one face, whoever that is (Eq. 10)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def constancy(embeddings: Sequence[Tensor]) -> float | None:
    """Mean cosine of the frames' faces with their mean face: 1 - L_tic; None without a face.

    `embeddings` are `[D]` of length 1, one for each frame that shows a face.
    """
    if not embeddings:
        return None
    stacked = torch.stack(tuple(embeddings))
    return float((stacked @ F.normalize(stacked.mean(dim=0), dim=0)).mean())
