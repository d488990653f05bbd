"""The best of N of one person, by the two ways to a clip: at once, and from a first frame.

One batch of candidates gives every N: fewer candidates are the first of more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from ..faces.finder import FaceFinder
from ..faces.motion import face_motion
from ..faces.similarity import clip_score, frame_cosines, largest_embeddings, largest_faces
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
    """Of one clip."""

    identity: float
    """FaceSim with the photo."""
    motion: float | None
    """Mean displacement of the face a frame, in face widths; None without a face."""
    caption: float
    """Share of the caption's attributes that are read back."""
    time_s: float | None
    """Sampling and choosing, seconds; None for a clip that was drawn."""
    kept: int | None = None
    """Which candidate it is, or was animated from."""
    first_frame: float | None = None
    """FaceSim of the frame that it was animated from; None for a clip made at once."""


@dataclass(frozen=True, kw_only=True)
class Judges:
    """What measures clips."""

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
        """Of a clip `[F, h, w, 3]` uint8; the rest is as it is known."""
        (score,) = score_clips([clip], [case], self.faces, self.reader)
        return StagedScore(
            identity=score.identity,
            motion=face_motion(largest_faces(clip, self.faces)),
            caption=score.caption,
            time_s=time_s,
            kept=kept,
            first_frame=first_frame,
        )


def run(pipeline: Pipeline, case: Case, shot: Shot, judges: Judges) -> dict[str, Scored]:
    """Row name -> the clip that is kept, for both ways and each N of `NUM_CANDIDATES`."""
    return _direct(pipeline, case, shot, judges) | _staged(pipeline, case, shot, judges)


def drawn(pipeline: Pipeline, case: Case, judges: Judges) -> dict[str, Scored]:
    """What a perfect generator would score, and one with this VAE."""
    true = case.true_clip()
    clips = {TRUE_CLIPS: true, DECODED_CLIPS: round_trip(pipeline, [true])[0]}
    return {name: (judges.score(clip, case), clip) for name, clip in clips.items()}


def row_name(way: str, count: int) -> str:
    return f"{way}, best of {count}"


def _direct(pipeline: Pipeline, case: Case, shot: Shot, judges: Judges) -> dict[str, Scored]:
    seeds = candidate_seeds(shot, max(NUM_CANDIDATES))
    clips, sampling_s = _timed(lambda: _sample(pipeline, case, shot, seeds))
    cases = [case] * len(seeds)
    scores, choosing_s = _timed(lambda: score_clips(clips, cases, judges.faces, judges.reader))
    rows = {}
    for count in NUM_CANDIDATES:
        kept = best_candidate([score.identity for score in scores[:count]])
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
        first = clip_score([similarities[kept]])
        rows[row_name(STAGED, count)] = judges.score(clip, case, time_s, kept, first), clip
    return rows


def _sample(
    pipeline: Pipeline,
    case: Case,
    shot: Shot,
    seeds: list[int],
    first_frames: Tensor | None = None,
) -> Tensor:
    """Clips `[N, F, h, w, 3]` uint8 of the case's whole caption."""
    contexts = MiniatureText().encode(case.scene.caption).expand(len(seeds), -1, -1)
    photos = [case.photo] * len(seeds)
    return to_uint8(pipeline.many(photos, contexts, shot, seeds, first_frames=first_frames))


def _timed(make: Callable[[], Made]) -> tuple[Made, float]:
    started = time.perf_counter()
    return make(), time.perf_counter() - started


def _share_s(count: int, sampling_s: float, choosing_s: float) -> float:
    """Of a batch of all candidates; a single one is not measured to be kept."""
    share = count / max(NUM_CANDIDATES)
    return share * (sampling_s + (choosing_s if count > 1 else 0))
