"""The guidance of one run whose steps may be sampled in pieces.

A wrapper around the host's sampling may call it several times, each time for some of the run's
sigmas (KJNodes' LTX2 Audio Latent Normalizing Sampling does). The host then tells the piece's
sigmas alone, but the steps of the guidance are those of the whole run.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ...stdrc_core.method.guided_run import GuidedRun

# How far a sigma may be rounded on its way through a wrapper.
_TOLERANCE = 1e-4


class RunInPieces:
    """Holds the guidance of a run, and the schedule that its steps are counted by."""

    def __init__(self, sigmas: Tensor, new_guidance: Callable[[], GuidedRun]) -> None:
        """`sigmas` `[N + 1]` are those of the whole run."""
        self._new_guidance = new_guidance
        self._reached = math.inf
        self._whole = self.sigmas = sigmas.cpu()
        self.guidance = new_guidance()

    def go_on_with(self, piece: Tensor) -> None:
        """Tells that the sigmas `piece` `[n + 1]` are sampled now.

        Where they are not among the run's own sigmas, the steps are those of the piece. The
        guidance starts afresh there, and where a piece begins above the end of the last one, so
        that nothing is kept from one video to another.
        """
        piece = piece.cpu()
        if not len(piece):
            return
        is_of_run = _are_close(piece[:, None], self._whole).any(dim=1).all()
        sigmas = self._whole if is_of_run else piece
        if sigmas is not self.sigmas or piece[0] > self._reached * (1 + _TOLERANCE):
            self.guidance = self._new_guidance()
        self.sigmas, self._reached = sigmas, float(piece[-1])


def _are_close(a: Tensor, b: Tensor) -> Tensor:
    return torch.isclose(a, b.to(a), rtol=_TOLERANCE, atol=0.0)
