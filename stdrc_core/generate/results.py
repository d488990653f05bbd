"""Makes one clip and writes its files.

The clip is written first, and right after it the JSON that tells that it is made. What lies beside
the clip comes then; where that fails, the JSON says so at the end, and the clip stays as it is.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..faces.drift import measure_drift
from ..faces.finder import FaceFinder, largest
from ..faces.gallery import GalleryRule, gallery_embedding
from ..faces.others import Others, count_others
from ..faces.similarity import (
    NUM_SCORED_FRAMES,
    best_cosines,
    cosines,
    facesim,
    find_padding,
    largest_embeddings,
    other_cosines,
    spread,
)
from ..files import write_json
from ..method.reference import BLACK, fit_reference
from ..photo_file import read_color
from ..shown_text import one_line
from ..text_files import read_json
from ..uint8 import to_uint8
from ..video import contact_sheet, write_clip
from .jobs import Job
from .likeness_plot import plot_over_time
from .pipeline import Pipeline
from .staging import StagePrompts, make_first_frame

log = logging.getLogger(__name__)

# How many frames of the clip stand on the contact sheet.
_NUM_SHEET_FRAMES = 5
# The ending of the longest name of a clip's files, and where its JSON says what could not be made.
_LONGEST, _PROBLEMS = "similarity.png", "problems"


def is_done(out: Path, job: Job) -> bool:
    """Whether the clip is in folder `out` already, made by the same request.

    What could not be made beside it is said again. Raises ValueError where another file is in the
    place of the clip's JSON.
    """
    path = job.file(out, "json")
    if not path.is_file():
        return False
    try:
        found = read_json(path)
        asked, problems = found["asked"], found.get(_PROBLEMS, {})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no file that this command wrote; needs its place: move it, or choose "
            "another --out or --name."
        ) from error
    if asked != job.asked():
        return False
    for what, problem in problems.items():
        log.warning(
            "%s is there, but %s could not be made (%s); delete %s to make the clip again.",
            job.file(out, "mp4"),
            what,
            problem,
            path.name,
        )
    return True


def check_place(out: Path, job: Job) -> None:
    """Raises ValueError where the clip's files cannot be written, which no sampling should find."""
    path = job.file(out, _LONGEST)
    place = next(each for each in path.absolute().parents if each.exists())
    try:
        tried = place / f".{path.name}"
        tried.touch()
        tried.unlink()
    except OSError as error:
        raise ValueError(
            f"{path} could not be written ({error.strerror}); needs a folder that may be written "
            "to, and a name that it takes: choose another --out or --name."
        ) from error


def make(
    out: Path,
    job: Job,
    pipeline: Pipeline,
    faces: FaceFinder | None,
    photos: Sequence[Tensor],
    contexts: Mapping[str, Tensor],
    stages: StagePrompts | None = None,
) -> None:
    """Samples one clip, measures FaceSim on it, and writes its files to folder `out`.

    Once the clip is written, what fails is logged and kept in the JSON, but for the JSON itself.

    `photos` are those of `job.references`, `[1, h, w, 3]` in [0, 1], of any size. `contexts` have
    the embedding `[L, D]` of every prompt that is used, by the prompt. With `stages` the clip is
    made in two stages by these prompts. Without `faces` nothing is measured.
    """
    started = time.perf_counter()
    e_refs = [_embedding(*each, faces) for each in zip(job.references, photos, strict=True)]
    color = BLACK if job.pad_color is None else read_color(job.pad_color)
    size = job.shot.height, job.shot.width
    photos = [fit_reference(photo, *size, pad_color=color) for photo in photos]
    result: dict[str, Any] = {"asked": job.asked(), "facesim": None, "similarity": None}
    num_steps, first_frames, prompt = job.shot.num_steps, None, job.prompt
    title = one_line(job.name)
    with tqdm(total=num_steps * (1 + (stages is not None)), desc=title, unit="step") as progress:

        def on_step(*_: object) -> None:
            progress.update()

        if stages is not None:
            spatial, prompt = contexts[stages.spatial], stages.temporal
            known = [e_ref for e_ref in e_refs if e_ref is not None]
            e_ref = gallery_embedding(known, GalleryRule.MEAN) if known else None
            first = make_first_frame(out, job, pipeline, photos, spatial, faces, e_ref, on_step)
            first_frames = first.frame[None]
            result["staged"] = dataclasses.asdict(stages) | first.facts
        clip = pipeline.many(
            [photos],
            contexts[prompt][None],
            job.shot,
            [job.shot.seed],
            on_step,
            first_frames=first_frames,
        )[0]
    frames = to_uint8(clip)
    write_clip(job.file(out, "mp4"), frames, job.shot.fps)
    # From here on the clip is made, and is not made again whatever else fails.
    path = job.file(out, "json")
    write_json(path, result | {_PROBLEMS: {"FaceSim": "the command was stopped"}})
    beside = _Beside(job.file(out, "mp4"))
    label = job.prompt
    measured = beside.tried("FaceSim", lambda: _measured(frames, e_refs, faces))
    if measured is not None:
        similarity, facesims, others = measured
        drifts = [
            None if each is None else measure_drift(range(len(each)), each) for each in similarity
        ]
        known = ", ".join(f"{score:.3f}" for score in facesims if score is not None)
        told = "" if others is None else others.sentence
        label = "  ".join(filter(None, (f"FaceSim {known}", told, label)))
        plot = job.file(out, "similarity.png")
        beside.tried(plot.name, lambda: plot_over_time(plot, similarity, job))
        alone = len(photos) == 1
        result["facesim"] = facesims[0] if alone else facesims
        result["similarity"] = similarity[0] if alone else similarity
        slopes = [None if each is None else each.slope for each in drifts]
        errors = [None if each is None else each.error for each in drifts]
        result["drift"] = slopes[0] if alone else slopes
        result["drift_error"] = errors[0] if alone else errors
        if others is not None:
            result["others"] = dataclasses.asdict(others)
    sheet = job.file(out, "sheet.png")
    beside.tried(sheet.name, lambda: _sheet(sheet, photos, frames, label))
    if beside.problems:
        result[_PROBLEMS] = beside.problems
    result["time_s"] = round(time.perf_counter() - started, 2)
    write_json(path, result)
    log.info("%s  %s  %.1f s", job.file(out, "mp4"), one_line(label), result["time_s"])


class _Beside:
    """Makes what lies beside a clip that is made; what fails there is said and kept."""

    def __init__(self, clip: Path) -> None:
        self.clip = clip
        self.problems: dict[str, str] = {}

    def tried(self, what: str, make: Callable[[], Any]) -> Any:
        """Returns what `make` does, or None where it fails."""
        try:
            return make()
        # Whatever it is, the clip has taken minutes and has to stay.
        except Exception as error:  # noqa: BLE001
            self.problems[what] = f"{type(error).__name__}: {error}"
            log.warning(
                "%s is made, but %s could not be (%s).", self.clip, what, self.problems[what]
            )
            return None


def _measured(
    frames: Tensor, e_refs: Sequence[Tensor | None], faces: FaceFinder | None
) -> tuple[list[list[float | None] | None], list[float | None], Others | None] | None:
    """Returns the cosines of each frame with each photo, FaceSim with each photo, and who else was
    seen.

    It is None without a photo that shows a face.
    """
    if all(e_ref is None for e_ref in e_refs):
        return None
    similarity, others = _likeness(frames, e_refs, faces)
    scored = spread(len(frames), NUM_SCORED_FRAMES)
    facesims = [None if each is None else facesim([each[i] for i in scored]) for each in similarity]
    return similarity, facesims, others


def _sheet(path: Path, photos: Sequence[Tensor], frames: Tensor, label: str) -> None:
    """Writes the fitted photos beside frames of the clip."""
    row = torch.cat((*map(to_uint8, photos), frames[spread(len(frames), _NUM_SHEET_FRAMES)]))
    contact_sheet(path, [row], labels=[label], num_columns=len(row))


def _embedding(path: Path, photo: Tensor, faces: FaceFinder | None) -> Tensor | None:
    """Returns the embedding `[D]` of the photo's largest face, None without a face or `faces`."""
    e_ref = None if faces is None else largest_embeddings(to_uint8(photo), faces)[0]
    if faces is not None and e_ref is None:
        log.warning("%s shows no face that %s finds: FaceSim is not measured", path, faces.name)
    return e_ref


def _likeness(
    frames: Tensor, e_refs: Sequence[Tensor | None], faces: FaceFinder
) -> tuple[list[list[float | None] | None], Others | None]:
    """Returns for each photo the cosine of each frame of `[F, h, w, 3]` uint8 with it.

    With one photo it is that of the largest face in the frame, with several that of the face most
    like the photo. A frame without a face has None, and so has a photo without one as a whole. With
    one photo it also returns who else was seen; with several, others are expected.
    """
    known = [e_ref for e_ref in e_refs if e_ref is not None]
    if len(e_refs) == 1:
        seen = find_padding(frames, faces)
        curve = cosines([largest(here) for here in seen], known[0])
        return [curve], count_others(curve, other_cosines(seen, known[0]))
    measured = iter(best_cosines(frames, known, faces))
    return [None if e_ref is None else next(measured) for e_ref in e_refs], None
