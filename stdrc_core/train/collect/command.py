"""`python -m stdrc_core.train collect`: from raw footage to a data set that `prepare` takes.

Finds shots, faces and persons in a folder of long videos, cuts the stretches that teach a person,
gives each clip references of the same person from other shots, and writes OUT/manifest.jsonl, and
OUT/report.html to look at. Everything is done on this machine: frames are sent nowhere, but to the
address that --captions names, if it names one. The same command goes on where it was stopped, takes
footage that was added, and heeds OUT/exclude.txt and OUT/persons.txt.
Several processes:
TORCH_ELASTIC_SHUTDOWN_TIMEOUT=1800 torchrun --nproc_per_node 4 -m stdrc_core.train collect ...
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from ...faces.onnx_finder import open_onnx_pack
from ...faces.provider import Provider
from ..stopping import Stopper
from .captioners import SIDECAR, Captioner, open_captioner
from .chat_captioner import ChatCaptioner
from .collect import Collection
from .finish import Summary
from .look import serve
from .options import CollectConfig

log = logging.getLogger(__name__)


def main(args: argparse.Namespace) -> None:
    """Makes the data set, or shows it; raises ValueError for input that cannot be used."""
    if args.look:
        serve(args.out)
        return
    for name in ("footage", "faces"):
        if getattr(args, name) is None:
            raise ValueError(f"{name} was not given; needs a folder: add --{name} FOLDER.")
    config = CollectConfig(
        num_frames=args.num_frames,
        fps=args.fps,
        num_persons=args.persons,
        min_face_px=args.min_face,
        min_sharpness=args.min_sharpness,
        max_burnt=args.max_burnt,
        max_yaw_deg=args.max_yaw,
        min_motion=args.min_motion,
        shot_threshold=args.shot_threshold,
        sample_fps=args.sample_fps,
        same_person=args.same_person,
        min_reference_cosine=args.min_reference_cosine,
        num_references=args.references,
        jobs=args.jobs,
        rank=args.rank,
        world_size=args.world_size,
    )
    if args.retry and config.world_size > 1:
        raise ValueError(
            f"retry was given to {config.world_size} processes, which would not agree on what "
            "failed; needs one: give the command once without torchrun."
        )
    if not 0 < args.caption_timeout < 86_400:
        raise ValueError(
            f"caption_timeout was {args.caption_timeout}; needs seconds, for example 120."
        )
    captioner = open_captioner(args.captions, args.caption_model, args.caption_timeout)
    _tell_what_leaves(captioner)
    finder = open_onnx_pack(
        args.faces,
        provider=Provider(args.device),
        device_index=int(os.environ.get("LOCAL_RANK", "0")),
    )
    stopper = Stopper()
    with stopper.listening():
        summary = Collection(
            footage=args.footage,
            out=args.out,
            config=config,
            finder=finder,
            captioner=captioner,
            beside_videos=args.captions == SIDECAR,
            retry=args.retry,
            stopper=stopper,
        ).run()
    if summary is not None:
        _tell_what_is_next(args.out, summary, config)


def _tell_what_leaves(captioner: Captioner | None) -> None:
    """Says where frames go, before any is read."""
    if not isinstance(captioner, ChatCaptioner):
        log.info("Faces are personal data: nothing leaves this machine.")
    elif captioner.is_local:
        log.info(
            "Faces are personal data: frames go to %s on this machine, and nowhere else.",
            captioner.address,
        )
    else:
        log.warning(
            "Faces are personal data: frames of every clip LEAVE THIS MACHINE for %s, which you "
            "named for captions.",
            captioner.host,
        )


def _tell_what_is_next(out: Path, summary: Summary, config: CollectConfig) -> None:
    log.info("Look: python -m stdrc_core.train collect --out %s --look", out)
    if summary.num_captions < summary.num_clips:
        lack = summary.num_clips - summary.num_captions
        log.info("%d clips have no caption: prepare will set them aside.", lack)
    log.info(
        "Next: python -m stdrc_core.train prepare --data %s --num-frames %d --fps %g ...",
        summary.manifest,
        config.num_frames,
        config.fps,
    )
