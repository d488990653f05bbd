"""Identity losses on face embeddings (Eq. 8-10); where those come from is not their matter.

e_f is frame f's embedding, e_ref the reference's, m_f = 1 where frame f shows a face:

    L_id  = sum m_f (1 - cos(e_f, e_ref)) / (sum m_f + eps)
    e_bar = sum m_f e_f / (sum m_f + eps)
    L_tic = sum m_f (1 - cos(e_f, e_bar)) / (sum m_f + eps)
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

EPS = 1e-6


def identity_loss(embeddings: Tensor, reference: Tensor, has_face: Tensor) -> Tensor:
    """L_id (Eq. 8-9) per clip.

    `embeddings` `[B, F, D]`, `reference` `[B, D]` (detached: it is data), `has_face` `[B, F]` of 0
    and 1 or bool. Returns `[B]` in [0, 2], 0 for a clip without a face. Embeddings of frames
    without a face are ignored, whatever they hold.
    """
    return _mean_distance(embeddings, reference.detach(), has_face)


def temporal_consistency_loss(embeddings: Tensor, has_face: Tensor) -> Tensor:
    """L_tic (Eq. 10) per clip: distance of each face from the clip's mean face.

    Shapes and range as `identity_loss`. The mean takes part in the gradient.
    """
    mask = has_face.to(embeddings)
    total = (_faces_only(embeddings, has_face) * mask[..., None]).sum(dim=1)
    mean = total / (mask.sum(dim=1, keepdim=True) + EPS)
    return _mean_distance(embeddings, mean, has_face)


def _mean_distance(embeddings: Tensor, center: Tensor, has_face: Tensor) -> Tensor:
    """Mean of 1 - cos(e_f, center) over the frames with a face: `[B]`."""
    mask = has_face.to(embeddings)
    similarity = F.cosine_similarity(_faces_only(embeddings, has_face), center[:, None], dim=-1)
    return (mask * (1 - similarity)).sum(dim=1) / (mask.sum(dim=1) + EPS)


def _faces_only(embeddings: Tensor, has_face: Tensor) -> Tensor:
    # Multiplying by 0 would let a NaN of a frame without a face through, into loss and gradient.
    return embeddings.masked_fill(~has_face.bool()[..., None], 0)
