"""One clip made, and its files written: the JSON last, which says that all of it is there."""

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

from ..faces.finder import FaceFinder
from ..faces.similarity import (
    NUM_SCORED_FRAMES,
    clip_score,
    frame_cosines,
    largest_embeddings,
    spread,
)
from ..files import write_json, written_aside
from ..levels import to_levels
from ..pipeline import Pipeline
from ..reference import fit_reference
from ..video import contact_sheet, write_clip
from .jobs import Job
from .staging import StagePrompts, make_first_frame

log = logging.getLogger(__name__)

_NUM_COLUMNS = 6


def is_done(out: Path, job: Job) -> bool:
    """Whether the clip was made by the same request."""
    path = out / f"{job.name}.json"
    return path.is_file() and json.loads(path.read_text())["asked"] == job.asked()


def make(
    out: Path,
    job: Job,
    pipeline: Pipeline,
    faces: FaceFinder | None,
    photo: Tensor,
    contexts: Mapping[str, Tensor],
    stages: StagePrompts | None = None,
) -> None:
    """Samples one clip, in two stages where there are prompts for them, and writes its files.

    `contexts` hold the embeddings `[L, D]` of all prompts that come up, by prompt.
    """
    started = time.perf_counter()
    e_ref = None if faces is None else largest_embeddings(to_levels(photo), faces)[0]
    if faces is not None and e_ref is None:
        log.warning(
            "%s shows no face that %s finds: likeness is not measured", job.reference, faces.name
        )
    result: dict[str, Any] = {"asked": job.asked(), "face_sim": None, "similarity": None}
    num_steps, first_frames, prompt = job.shot.num_steps, None, job.prompt
    with tqdm(total=num_steps * (1 + (stages is not None)), desc=job.name, unit="step") as progress:

        def on_step(*_: object) -> None:
            progress.update()

        if stages is not None:
            spatial, prompt = contexts[stages.spatial], stages.temporal
            first = make_first_frame(out, job, pipeline, photo, spatial, faces, e_ref, on_step)
            first_frames = first.frame[None]
            result["staged"] = dataclasses.asdict(stages) | first.facts
        clip = pipeline.many(
            [photo],
            contexts[prompt][None],
            job.shot,
            [job.shot.seed],
            on_step,
            first_frames=first_frames,
        )[0]
    frames = to_levels(clip)
    label = job.prompt
    write_clip(out / f"{job.name}.mp4", frames, job.shot.fps)
    if e_ref is not None:
        similarity = frame_cosines(frames, e_ref, faces)
        scored = [similarity[i] for i in spread(len(frames), NUM_SCORED_FRAMES)]
        result |= {"face_sim": clip_score(scored), "similarity": similarity}
        label = f"FaceSim {result['face_sim']:.3f}  {label}"
        _plot(out / f"{job.name}.similarity.png", similarity, job)
    fitted = to_levels(fit_reference(photo, job.shot.height, job.shot.width))
    row = torch.cat((fitted, frames[spread(len(frames), _NUM_COLUMNS - 1)]))
    contact_sheet(out / f"{job.name}.sheet.png", [row], labels=[label], num_columns=_NUM_COLUMNS)
    result["time_s"] = round(time.perf_counter() - started, 2)
    write_json(out / f"{job.name}.json", result)
    log.info("%s  %s  %.1f s", out / f"{job.name}.mp4", label, result["time_s"])


def _plot(path: Path, similarity: Sequence[float | None], job: Job) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.5), layout="constrained")
    axes = figure.subplots()
    seconds = [i / job.shot.fps for i in range(len(similarity))]
    axes.plot(seconds, [float("nan") if s is None else s for s in similarity], marker=".")
    for second, value in zip(seconds, similarity, strict=True):
        if value is None:
            axes.axvline(second, color="lightgrey")
    axes.set(xlabel="seconds", ylabel="cosine with the photo", ylim=(-0.2, 1.05))
    axes.set_title(f"{job.name}: likeness to {job.reference.name} (grey: no face)", fontsize=9)
    with written_aside(path) as partial:
        figure.savefig(partial, format="png")
