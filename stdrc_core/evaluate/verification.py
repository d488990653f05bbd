"""Whether FaceSim-Arc tells persons apart on these very clips: the scores of clips with photos of
their own person, against those with photos of others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

NUM_BINS = 40


class Verification(BaseModel):
    """FaceSim-Arc of clips with photos of their person (`same`) and of others (`different`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_same: int
    num_different: int
    auc: float
    """Share of (same, different) pairs in which the same person scores higher; ties count half."""
    mean_same: float
    mean_different: float
    histogram_same: tuple[int, ...]
    """How many pairs score in each of `NUM_BINS` bins of equal width over [0, 1]."""
    histogram_different: tuple[int, ...]


class PersonFaces(BaseModel):
    """The embeddings of a clip, all of length 1."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    person: str
    photo: Tensor
    """The photo's face, `[D]`, or those of P photos of which the nearest counts, `[P, D]`."""
    frames: Tensor
    """The faces of the frames that show one, `[F, D]`; F may be 0."""


def verify(clips: Sequence[PersonFaces]) -> Verification | None:
    """Scores each clip with each photo; None where there are fewer than two persons."""
    # Photos that clips share count once.
    photos: dict[tuple[str, bytes], Tensor] = {}
    for clip in clips:
        photos.setdefault((clip.person, clip.photo.numpy().tobytes()), clip.photo)
    if len({person for person, _ in photos}) < 2:
        return None
    persons = [person for person, _ in photos]
    stacked = torch.cat([photo.reshape(-1, photo.shape[-1]) for photo in photos.values()])
    sizes = [photo.numel() // photo.shape[-1] for photo in photos.values()]
    same, different = [], []
    for clip in clips:
        cosines = (clip.frames @ stacked.T).clamp(min=0)
        nearest = torch.stack([each.amax(dim=1) for each in cosines.split(sizes, dim=1)], dim=1)
        # A clip without a face is like nobody: FaceSim is 0.
        scores = nearest.mean(dim=0) if len(clip.frames) else torch.zeros(len(photos))
        own = torch.tensor([person == clip.person for person in persons])
        same.append(scores[own])
        different.append(scores[~own])
    return _compared(torch.cat(same).double(), torch.cat(different).double())


def _compared(same: Tensor, different: Tensor) -> Verification:
    return Verification(
        num_same=len(same),
        num_different=len(different),
        auc=area_under_curve(same, different),
        mean_same=float(same.mean()),
        mean_different=float(different.mean()),
        histogram_same=_histogram(same),
        histogram_different=_histogram(different),
    )


def area_under_curve(same: Tensor, different: Tensor) -> float:
    """The area under the ROC curve, P(same > different) + P(same = different) / 2.

    `same` `[S]` and `different` `[D]` are scores of one person and of different persons.
    """
    ordered = different.sort().values
    below = torch.searchsorted(ordered, same, right=False)
    not_above = torch.searchsorted(ordered, same, right=True)
    return float((below + not_above).double().mean() / 2 / len(different))


def _histogram(values: Tensor) -> tuple[int, ...]:
    counts = torch.histc(values.clamp(0, 1), NUM_BINS, 0, 1)
    return tuple(int(count) for count in counts)
