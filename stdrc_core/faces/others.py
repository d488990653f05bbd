"""Who else is in a clip: the scored face is the largest, and a passer-by may come nearer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Others:
    """In which of a clip's frames others than the scored face were seen.

    FaceSim scores the largest face of a frame, whoever it is. Where another face is more like the
    photo, the largest one is perhaps a passer-by, and a low cosine is no drift.
    """

    num_looked_at: int
    """How many frames were looked at, each counted once."""
    num_frames: int
    """In how many of them more than one face was seen."""
    num_nearer: int
    """In how many of these another face had a higher cosine with the photo than the scored one."""

    @property
    def sentence(self) -> str:
        """All of it in a sentence; empty where nobody else was seen."""
        if not self.num_frames:
            return ""
        seen = f"Other people in {self.num_frames} of {self.num_looked_at} frames"
        if not self.num_nearer:
            return f"{seen}, none nearer to the photo than the scored face."
        return (
            f"{seen}; in {self.num_nearer} of these another face is nearer to the photo than the "
            "scored one, the largest."
        )


def count_others(scored: Sequence[float | None], others: Sequence[Sequence[float]]) -> Others:
    """Counts a clip's others from cosines with the photo, frame by frame.

    `scored` are those of the scored faces, None for a frame without a face, and `others` those of
    all other faces of each frame.
    """
    pairs = [(cosine, max(rest)) for cosine, rest in zip(scored, others, strict=True) if len(rest)]
    return Others(
        num_looked_at=len(scored),
        num_frames=len(pairs),
        num_nearer=sum(cosine is not None and rest > cosine for cosine, rest in pairs),
    )
