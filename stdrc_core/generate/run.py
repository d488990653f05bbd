"""Makes the clips that the command line asks for."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from ..ltx.text import open_text_encoder
from ..mini.text import STAND_INS
from ..photo_file import load_opaque_photo, read_color
from .jobs import beyond_training, read_jobs, read_shot
from .models import (
    decide_by_loras,
    decide_layout,
    load_pipeline,
    name_models,
    open_devices,
    open_faces,
    warn_of_scales,
)
from .rehearsal import rehearse
from .results import check_place, is_done, make
from .staging import split_job

log = logging.getLogger(__name__)


def run(args: argparse.Namespace) -> list[Path]:
    """Makes the clips that are not there yet, and returns the paths of all that were asked for.

    Raises ValueError for input that cannot be used, before anything is sampled.
    """
    if args.rehearse:
        log.info("%s", rehearse(args, read_shot(args, decide_by_loras(args))))
        return []
    name_models(args)
    decision = decide_layout(args)
    jobs = read_jobs(args, decision)
    warn_of_scales(args, decision, jobs)
    waiting = [job for job in jobs if not is_done(args.out, job)]
    if len(waiting) < len(jobs):
        log.info("%d of %d clips are there already", len(jobs) - len(waiting), len(jobs))
    if waiting:
        paths = {path for job in waiting for path in job.references}
        color = read_color(args.pad_color)
        photos = {path: load_opaque_photo(path, color) for path in sorted(paths)}
        for job in waiting:
            check_place(args.out, job)
            for sentence in beyond_training(job, decision):
                log.warning("%s: %s", job.name, sentence)
        device, text_device = open_devices(args)
        faces = open_faces(args, device)
        if faces is None and args.face_detail is not None:
            raise ValueError(
                "faces is missing and face-detail was given; needs a face pack that finds the "
                "first frame's face: name one (--faces), or leave --face-detail out."
            )
        stages = {
            job.name: split_job(job, args, [photos[path] for path in job.references], faces)
            for job in waiting
            if job.staging is not None
        }
        for name, staged in stages.items():
            log.info("%s: %s", name, " ".join(staged.notes))
        prompts = {"", *(job.prompt for job in waiting)}
        prompts |= {
            each for staged in stages.values() for each in (staged.spatial, staged.temporal)
        }
        # Gemma is let go before the transformer is loaded, as both together need much memory.
        text = open_text_encoder(args.text_encoder, args.checkpoint, text_device, STAND_INS)
        contexts = {prompt: text.encode(prompt) for prompt in sorted(prompts)}
        del text
        pipeline = load_pipeline(args, decision, device, contexts[""])
        for job in waiting:
            staged = stages.get(job.name)
            own = [photos[path] for path in job.references]
            make(args.out, job, pipeline, faces, own, contexts, staged)
    return [job.file(args.out, "mp4") for job in jobs]
