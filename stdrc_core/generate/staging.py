"""The two stages of a staged clip: its prompts, and its first frame (docs/method.md section 8).

The prompt is split into what stands still and what moves. Of the first half several candidates of a
first frame are made, and the one most like the person is kept; of the second half the clip is made
that begins with it (`results`). The photo, or several of the person, is in context in both stages.
That frame is written to NAME.first.png before the clip is begun.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from ..faces.finder import FaceFinder
from ..faces.gallery import check_one_person
from ..faces.gender import open_gender_reader
from ..faces.likeness import ranking
from ..faces.photo import only_person
from ..faces.similarity import frame_cosines, largest_embeddings
from ..files import written_aside
from ..mini.scene import split_caption
from ..mini.text import MINIATURE
from ..prompts.decouple import decouple, find_subject, make_request
from ..prompts.gender import Gender
from ..uint8 import to_uint8
from .detail import detail_face
from .jobs import Job
from .models import faces_folder
from .pipeline import Pipeline, Shot

log = logging.getLogger(__name__)

# The rank of a candidate in which no face is found: below every cosine.
_NO_FACE = -2.0


@dataclass(frozen=True, kw_only=True)
class StagePrompts:
    """The prompts of the two stages."""

    spatial: str
    """What stands still: the prompt of the first frame."""
    temporal: str
    """What moves: the prompt of the clip."""
    notes: tuple[str, ...]
    """How the prompt was split, in sentences."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FirstFrame:
    """The first frame that was kept."""

    frame: Tensor
    """Its pixels, `[h, w, 3]` in [0, 1]."""
    facts: dict[str, Any]
    """What the result file tells of it: all candidates' seeds and cosines, and the face detail."""


def split_job(
    job: Job, args: argparse.Namespace, photos: Sequence[Tensor], faces: FaceFinder | None
) -> StagePrompts:
    """Splits the job's prompt by rules, without a language model.

    `photos` are those of `job.references`, `[1, h, w, 3]` in [0, 1]. The first gives the subject's
    gender if the job does not and `faces` can read it. Raises ValueError for a prompt that is too
    long, for photos of two persons, for a photo without a face if candidates are measured by it or
    the gender is read from it, and for a photo of several persons if the gender is.
    """
    assert job.staging is not None
    photo = photos[0]
    if faces is not None:
        _check_faces(job, photos, faces)
    if args.text_encoder == MINIATURE:
        # The miniature knows the words of its captions alone, so no other words may be added.
        split = split_caption(job.prompt)
        if split is None:
            note = (
                "The prompt is no caption of the miniature's world; both stages have it as it is."
            )
            return StagePrompts(spatial=job.prompt, temporal=job.prompt, notes=(note,))
        note = "A caption of the miniature's world: the first frame's motion is stillness."
        return StagePrompts(spatial=split[0], temporal=split[1], notes=(note,))
    asked, seen, about_photo = job.staging.gender, None, "no face pack was named"
    if asked is None and faces is not None:
        seen, about_photo = _read_gender(job, args, photo, faces)
    made = decouple(make_request(job.prompt, find_subject(job.prompt, asked, seen, about_photo)))
    return StagePrompts(spatial=made.spatial, temporal=made.temporal, notes=made.notes)


def make_first_frame(
    out: Path,
    job: Job,
    pipeline: Pipeline,
    photo: Tensor | Sequence[Tensor],
    context: Tensor,
    faces: FaceFinder | None,
    e_ref: Tensor | None,
    on_step: Callable[..., object] | None = None,
) -> FirstFrame:
    """Samples candidates of a first frame, keeps one, and writes it to NAME.first.png in `out`.

    The one is kept whose face is most like `e_ref` `[D]`, of equals the first. Without `faces` or
    `e_ref` that is the first of all. Its face goes through the detail pass if the job asks for it.
    `photo` `[1, h, w, 3]` in [0, 1] is in context, or several photos of the person; `context`
    `[L, D]` embeds the spatial prompt.
    """
    assert job.staging is not None
    num_candidates = job.staging.num_candidates
    seeds = candidate_seeds(job.shot, num_candidates)
    frames = sample_first_frames(pipeline, photo, context, job.shot, seeds, on_step)
    similarities: list[float | None] = [None] * num_candidates
    if faces is not None and e_ref is not None:
        similarities = frame_cosines(to_uint8(frames), e_ref, faces)
    if num_candidates > 1 and all(each is None for each in similarities):
        log.warning("%s: no first frame could be measured; the first one is kept", job.name)
    kept = best_candidate(similarities)
    facts: dict[str, Any] = {"seeds": seeds, "similarities": similarities, "kept": kept}
    frame, sigma = frames[kept], job.staging.face_detail
    if sigma is not None:
        assert faces is not None, "checked with the command line"
        still = replace(job.shot, seed=seeds[kept])
        detailed = detail_face(pipeline, frame, photo, context, still, sigma, faces, e_ref)
        frame, facts["face_detail"] = detailed.frame, detailed.facts
    with written_aside(job.file(out, "first.png")) as partial:
        Image.fromarray(to_uint8(frame).numpy()).save(partial, format="PNG")
    return FirstFrame(frame=frame, facts=facts)


def candidate_seeds(shot: Shot, num_candidates: int) -> list[int]:
    """Returns the shot's seed and those after it, so that few candidates are the first of many."""
    return [shot.seed + i for i in range(num_candidates)]


def sample_first_frames(
    pipeline: Pipeline,
    photo: Tensor | Sequence[Tensor],
    context: Tensor,
    shot: Shot,
    seeds: Sequence[int],
    on_step: Callable[..., object] | None = None,
) -> Tensor:
    """Samples a first frame for each seed, side by side: `[N, h, w, 3]` in [0, 1].

    `photo` and `context` are those of `make_first_frame`.
    """
    photos, contexts = [photo] * len(seeds), context.expand(len(seeds), -1, -1)
    return pipeline.many(photos, contexts, replace(shot, num_frames=1), seeds, on_step)[:, 0]


def best_candidate(similarities: Sequence[float | None]) -> int:
    """Returns the index of the highest cosine, of equals the first; None (no face) is below all."""
    return ranking([_NO_FACE if each is None else each for each in similarities])[0]


def _check_faces(job: Job, photos: Sequence[Tensor], faces: FaceFinder) -> None:
    """Raises ValueError if the photos show two persons, or one of them no face by which candidates
    could be measured."""
    if job.staging.num_candidates == 1 and len(photos) == 1:
        return
    found = [largest_embeddings(to_uint8(photo), faces)[0] for photo in photos]
    for path, e_ref in zip(job.references, found, strict=True):
        if e_ref is None and job.staging.num_candidates > 1:
            raise ValueError(
                f"reference {path} shows no face that {faces.name} finds; needs a clear one, by "
                "which the best first frame is chosen: take another photo, or ask for 1 of the "
                "--candidates."
            )
    known = [(path, e) for path, e in zip(job.references, found, strict=True) if e is not None]
    check_one_person([e for _, e in known], [f"reference {path}" for path, _ in known])


def _read_gender(
    job: Job, args: argparse.Namespace, photo: Tensor, faces: FaceFinder
) -> tuple[Gender | None, str]:
    """Returns the gender that the face pack's model sees in the photo, and where it is from.

    The gender is None if the pack has no such model. Raises ValueError unless the photo shows one
    person.
    """
    levels = to_uint8(photo)
    face = only_person(levels, faces, f"reference {job.reference}")
    if face is None:
        raise ValueError(
            f"reference {job.reference} shows no face that {faces.name} finds; needs a clear one: "
            "take another photo, or name the --subject."
        )
    folder = faces_folder(args)
    reader = None if folder is None else open_gender_reader(folder)
    if reader is None:
        return None, f"face pack {faces.name} has no gender model"
    return reader.read(levels[0], face), f"read from the photo by {faces.name}"
