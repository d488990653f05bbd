"""Identity losses on face embeddings (Eq. 8-10), and the score `tic` that Eq. 10 is as a measure.

e_f is frame f's embedding, e_ref the reference's, m_f = 1 where frame f shows a face:

    L_id  = sum m_f (1 - cos(e_f, e_ref)) / (sum m_f + eps)     Eq. 8-9
    e_bar = sum m_f e_f / (sum m_f + eps)                       Eq. 10
    L_tic = sum m_f (1 - cos(e_f, e_bar)) / (sum m_f + eps)     Eq. 10
    tic   = 1 - L_tic, temporal identity consistency

`mean_face` is e_bar. The loss, the score and the score's curve over a clip's frames all come from
it: each is a cosine with that mean face.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

EPS = 1e-6


def identity_loss(embeddings: Tensor, reference: Tensor, has_face: Tensor) -> Tensor:
    """L_id (Eq. 8-9) per clip: the mean distance of each face from the reference's.

    `embeddings` is `[B, F, D]`, `reference` `[B, D]` (detached, since it is data) and `has_face`
    `[B, F]` of 0 and 1 or bool. Returns `[B]` in [0, 2], 0 for a clip without a face. Embeddings of
    frames without a face are ignored, whatever they hold.
    """
    return _mean_distance(embeddings, reference.detach(), has_face)


def tic_loss(embeddings: Tensor, has_face: Tensor) -> Tensor:
    """L_tic (Eq. 10) per clip: the mean distance of each face from the clip's mean face.

    Shapes and range are those of `identity_loss`. The mean face takes part in the gradient.
    """
    return _mean_distance(embeddings, mean_face(embeddings, has_face), has_face)


def tic(faces: Tensor) -> Tensor:
    """Temporal identity consistency of one clip, 1 - L_tic (Eq. 10): a scalar in [0, 1].

    `faces` `[F, D]` are the embeddings, of length 1, of the frames that show a face, one or more.
    With that length, the mean of the cosines is the length of e_bar.
    """
    return (faces @ mean_direction(faces)).mean()


def mean_direction(faces: Tensor) -> Tensor:
    """e_bar (Eq. 10) of faces as `tic` takes them, scaled to length 1: `[D]`."""
    # Every frame shows a face, so that nothing has to be kept from dividing by 0.
    mean = mean_face(faces[None], faces.new_ones(1, len(faces)), eps=0.0)
    return F.normalize(mean[0], dim=0)


def mean_face(embeddings: Tensor, has_face: Tensor, *, eps: float = EPS) -> Tensor:
    """e_bar (Eq. 10), the mean embedding of each clip's frames that show a face: `[B, D]`.

    `embeddings` and `has_face` are those of `identity_loss`. Its length is not 1.
    """
    mask = has_face.to(embeddings)
    total = (_faces_only(embeddings, has_face) * mask[..., None]).sum(dim=1)
    return total / (mask.sum(dim=1, keepdim=True) + eps)


def _mean_distance(embeddings: Tensor, center: Tensor, has_face: Tensor) -> Tensor:
    """Mean of 1 - cos(e_f, center) over the frames with a face: `[B]`."""
    mask = has_face.to(embeddings)
    similarity = F.cosine_similarity(_faces_only(embeddings, has_face), center[:, None], dim=-1)
    return (mask * (1 - similarity)).sum(dim=1) / (mask.sum(dim=1) + EPS)


def _faces_only(embeddings: Tensor, has_face: Tensor) -> Tensor:
    # Multiplying by 0 would let a NaN of a frame without a face through, into loss and gradient.
    return embeddings.masked_fill(~has_face.bool()[..., None], 0)
