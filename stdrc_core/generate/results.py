"""Makes one clip and writes its files: the JSON last, which tells that all of them are there."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..faces.finder import FaceFinder, largest
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
from ..files import write_json, written_aside
from ..method.reference import BLACK, fit_reference
from ..photo_file import read_color
from ..uint8 import to_uint8
from ..video import contact_sheet, write_clip
from .jobs import Job
from .pipeline import Pipeline
from .staging import StagePrompts, make_first_frame

log = logging.getLogger(__name__)

# How many frames of the clip stand on the contact sheet.
_NUM_SHEET_FRAMES = 5


def is_done(out: Path, job: Job) -> bool:
    """Whether the clip is in folder `out` already, made by the same request."""
    path = job.file(out, "json")
    return path.is_file() and json.loads(path.read_text())["asked"] == job.asked()


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
    with tqdm(total=num_steps * (1 + (stages is not None)), desc=job.name, unit="step") as progress:

        def on_step(*_: object) -> None:
            progress.update()

        if stages is not None:
            spatial, prompt = contexts[stages.spatial], stages.temporal
            (photo,), (e_ref,) = photos, e_refs
            first = make_first_frame(out, job, pipeline, photo, spatial, faces, e_ref, on_step)
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
    label = job.prompt
    write_clip(job.file(out, "mp4"), frames, job.shot.fps)
    if any(e_ref is not None for e_ref in e_refs):
        similarity, others = _likeness(frames, e_refs, faces)
        scored = spread(len(frames), NUM_SCORED_FRAMES)
        facesims = [
            None if each is None else facesim([each[i] for i in scored]) for each in similarity
        ]
        known = ", ".join(f"{score:.3f}" for score in facesims if score is not None)
        told = "" if others is None else others.sentence
        label = "  ".join(filter(None, (f"FaceSim {known}", told, label)))
        _plot(job.file(out, "similarity.png"), similarity, job)
        if len(photos) == 1:
            (similarity,), (facesims,) = similarity, facesims
        result |= {"facesim": facesims, "similarity": similarity}
        if others is not None:
            result["others"] = dataclasses.asdict(others)
    row = torch.cat((*map(to_uint8, photos), frames[spread(len(frames), _NUM_SHEET_FRAMES)]))
    contact_sheet(job.file(out, "sheet.png"), [row], labels=[label], num_columns=len(row))
    result["time_s"] = round(time.perf_counter() - started, 2)
    write_json(job.file(out, "json"), result)
    log.info("%s  %s  %.1f s", job.file(out, "mp4"), label, result["time_s"])


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


def _plot(path: Path, similarity: Sequence[Sequence[float | None] | None], job: Job) -> None:
    """Draws the cosines of each photo over the clip's seconds, frames without a face in grey."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.5), layout="constrained")
    axes = figure.subplots()
    shown = {
        path: each
        for path, each in zip(job.references, similarity, strict=True)
        if each is not None
    }
    for photo, values in shown.items():
        seconds = [i / job.shot.fps for i in range(len(values))]
        levels = [float("nan") if value is None else value for value in values]
        axes.plot(seconds, levels, marker=".", label=photo.name)
        for second, value in zip(seconds, values, strict=True):
            if value is None:
                axes.axvline(second, color="lightgrey")
    axes.set(xlabel="seconds", ylabel="cosine with the photo", ylim=(-0.2, 1.05))
    names = ", ".join(photo.name for photo in shown)
    axes.set_title(f"{job.name}: likeness to {names} (grey: no face)", fontsize=9)
    if len(shown) > 1:
        axes.legend(fontsize=8)
    with written_aside(path) as partial:
        figure.savefig(partial, format="png")
