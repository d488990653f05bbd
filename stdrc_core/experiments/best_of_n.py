"""Samples the best of N clips of one person in two ways: at once, and from a first frame.

One batch of candidates gives every N, since fewer candidates are the first ones of more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from ..faces.finder import FaceFinder
from ..faces.motion import face_motion
from ..faces.similarity import facesim, frame_cosines, largest_embeddings, largest_faces
from ..generate.pipeline import Pipeline, Shot
from ..generate.staging import best_candidate, candidate_seeds, sample_first_frames
from ..mini.scene import split_caption
from ..mini.text import MiniatureText
from ..uint8 import to_uint8
from .models import round_trip
from .reader import CaptionReader
from .scores import Case, score_clips
from .tables import DECODED_CLIPS, TRUE_CLIPS

NUM_CANDIDATES = (1, 2, 4, 8)
DIRECT, STAGED = "direct", "staged"
Made = TypeVar("Made")
# A clip `[F, h, w, 3]` uint8 and its score.
Scored = tuple["StagedScore", Tensor]


@dataclass(frozen=True, kw_only=True)
class StagedScore:
    """What one clip scores, and what it cost."""

    facesim: float
    """FaceSim with the photo, 0 to 1."""
    motion: float | None
    """How far the face moves from a frame to the next, in face widths; None without a face."""
    caption: float
    """The share of the caption's attributes that are read back."""
    time_s: float | None
    """Seconds of the processor for sampling and choosing; None for a clip that was drawn."""
    kept: int | None = None
    """The number of the candidate that the clip is, or was animated from."""
    first_frame: float | None = None
    """FaceSim of the frame that the clip was animated from; None for a clip made at once."""


@dataclass(frozen=True, kw_only=True)
class Judges:
    """The networks that measure clips."""

    faces: FaceFinder
    reader: CaptionReader

    def score(
        self,
        clip: Tensor,
        case: Case,
        time_s: float | None = None,
        kept: int | None = None,
        first_frame: float | None = None,
    ) -> StagedScore:
        """The score of a clip `[F, h, w, 3]` uint8 against its case.

        The other arguments go into the score as they are.
        """
        (score,) = score_clips([clip], [case], self.faces, self.reader)
        return StagedScore(
            facesim=score.facesim,
            motion=face_motion(largest_faces(clip, self.faces)),
            caption=score.caption,
            time_s=time_s,
            kept=kept,
            first_frame=first_frame,
        )


def run(pipeline: Pipeline, case: Case, shot: Shot, judges: Judges) -> dict[str, Scored]:
    """Row name -> the clip that is kept and its score, for both ways and each N of
    `NUM_CANDIDATES`."""
    return _direct(pipeline, case, shot, judges) | _staged(pipeline, case, shot, judges)


def drawn(pipeline: Pipeline, case: Case, judges: Judges) -> dict[str, Scored]:
    """Row name -> a drawn clip and its score: those of a perfect generator, and those of a perfect
    generator with this VAE."""
    true = case.true_clip()
    clips = {TRUE_CLIPS: true, DECODED_CLIPS: round_trip(pipeline, [true])[0]}
    return {name: (judges.score(clip, case), clip) for name, clip in clips.items()}


def row_name(way: str, count: int) -> str:
    """The name of the row of a way, `DIRECT` or `STAGED`, with `count` candidates."""
    return f"{way}, best of {count}"


def _direct(pipeline: Pipeline, case: Case, shot: Shot, judges: Judges) -> dict[str, Scored]:
    seeds = candidate_seeds(shot, max(NUM_CANDIDATES))
    clips, sampling_s = _timed(lambda: _sample(pipeline, case, shot, seeds))
    cases = [case] * len(seeds)
    scores, choosing_s = _timed(lambda: score_clips(clips, cases, judges.faces, judges.reader))
    rows = {}
    for count in NUM_CANDIDATES:
        kept = best_candidate([score.facesim for score in scores[:count]])
        time_s = _share_s(count, sampling_s, choosing_s)
        clip = clips[kept]
        rows[row_name(DIRECT, count)] = judges.score(clip, case, time_s, kept), clip
    return rows


def _staged(pipeline: Pipeline, case: Case, shot: Shot, judges: Judges) -> dict[str, Scored]:
    (e_ref,) = largest_embeddings(to_uint8(case.photo), judges.faces)
    assert e_ref is not None, "photos are drawn so that a face is found"
    spatial, _ = split_caption(case.scene.caption)
    context, seeds = MiniatureText().encode(spatial), candidate_seeds(shot, max(NUM_CANDIDATES))
    frames, sampling_s = _timed(
        lambda: sample_first_frames(pipeline, case.photo, context, shot, seeds)
    )
    similarities, choosing_s = _timed(lambda: frame_cosines(to_uint8(frames), e_ref, judges.faces))
    best = {count: best_candidate(similarities[:count]) for count in NUM_CANDIDATES}
    chosen = sorted(set(best.values()))
    same_seed = [shot.seed] * len(chosen)
    clips, animating_s = _timed(lambda: _sample(pipeline, case, shot, same_seed, frames[chosen]))
    rows = {}
    for count, kept in best.items():
        time_s = _share_s(count, sampling_s, choosing_s) + animating_s / len(chosen)
        clip = clips[chosen.index(kept)]
        first = facesim([similarities[kept]])
        rows[row_name(STAGED, count)] = judges.score(clip, case, time_s, kept, first), clip
    return rows


def _sample(
    pipeline: Pipeline,
    case: Case,
    shot: Shot,
    seeds: list[int],
    first_frames: Tensor | None = None,
) -> Tensor:
    """Clips `[N, F, h, w, 3]` uint8 of the case's whole caption, one for each seed."""
    contexts = MiniatureText().encode(case.scene.caption).expand(len(seeds), -1, -1)
    photos = [case.photo] * len(seeds)
    return to_uint8(pipeline.many(photos, contexts, shot, seeds, first_frames=first_frames))


def _timed(make: Callable[[], Made]) -> tuple[Made, float]:
    started = time.process_time()
    return make(), time.process_time() - started


def _share_s(count: int, sampling_s: float, choosing_s: float) -> float:
    """How many of the batch's seconds `count` candidates took; a single one is kept without being
    measured."""
    share = count / max(NUM_CANDIDATES)
    return share * (sampling_s + (choosing_s if count > 1 else 0))
