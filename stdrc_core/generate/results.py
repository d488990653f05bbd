"""One clip made, and its files written: the JSON last, which says that all of it is there."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
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
    context: Tensor,
) -> None:
    """Samples one clip and writes its files."""
    started = time.perf_counter()
    e_ref = None if faces is None else largest_embeddings(to_levels(photo), faces)[0]
    if faces is not None and e_ref is None:
        log.warning(
            "%s shows no face that %s finds: likeness is not measured", job.reference, faces.name
        )
    with tqdm(total=job.shot.num_steps, desc=job.name, unit="step") as progress:
        clip = pipeline(photo, context, job.shot, on_step=lambda *_: progress.update())
    frames = to_levels(clip)
    result: dict[str, Any] = {"asked": job.asked(), "face_sim": None, "similarity": None}
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
