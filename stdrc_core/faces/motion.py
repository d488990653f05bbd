"""How much a clip's face moves in the picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from .finder import EmbeddedFace


def face_motion(found: Sequence[EmbeddedFace | None]) -> float | None:
    """The mean displacement of the face's landmarks from a frame to the next, in face widths.

    `found` has the face of each frame of a clip in order, None for a frame without one. All five
    landmarks count, so that turning, nodding, speaking and coming closer are motion, as walking is.
    A face's width is its box's, averaged over the two frames. Returns None where no two frames in
    a row have a face. The detector's own jitter is motion too, so a figure means something only
    beside that of a clip whose motion is known.
    """
    steps = [
        _step(before, after)
        for before, after in itertools.pairwise(found)
        if before is not None and after is not None
    ]
    return sum(steps) / len(steps) if steps else None


def _step(before: EmbeddedFace, after: EmbeddedFace) -> float:
    moved = (after.face.landmarks - before.face.landmarks).double().norm(dim=1).mean()
    widths = [float(each.face.box[2] - each.face.box[0]) for each in (before, after)]
    return float(moved) / (sum(widths) / 2)
