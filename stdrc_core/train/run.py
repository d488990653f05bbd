"""`python -m stdrc_core.train run CONFIG.yaml`: trains, or with `--rehearse` says what that takes.

The same command goes on where a run was stopped. At the end the run's folder holds the weights for
ComfyUI.
"""

from __future__ import annotations

import argparse
import logging
from functools import partial

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from ..device import warn_of_costly_conv3d
from ..faces.finder import PackFinder, open_face_pack
from ..ltx.text import open_text_encoder
from ..mini.text import STAND_INS
from .assemble import assemble, require_fitting_files
from .batches import own_share
from .checkpoints import CheckpointFolder
from .config import TrainConfig, load_config
from .export import export, require_exportable, weights_name
from .export_command import how_to_load
from .loop import Parts, Result, train
from .processes import STEP_TIMEOUT, Processes
from .rehearsal import rehearse
from .rehearsal_parts import ClipSize
from .rehearsal_report import describe, write_report
from .resume import require_same_run
from .sharding import require_shardable
from .surroundings import disk_need, require_disk_space, warn_of_short_shutdown
from .tracking import show, trackers
from .validation import Case, Validator, read_cases, read_photos

log = logging.getLogger(__name__)


def main(args: argparse.Namespace) -> None:
    """Trains, or describes the run; raises ValueError for what is wrong with its configuration or
    files."""
    config = load_config(args.config, args.changes)
    if args.rehearse:
        _rehearse(config, args)
        return
    validates = config.validation.every > 0
    if validates:
        read_photos(config.validation)
    require_same_run(config)
    require_exportable(config)
    accelerator = make_accelerator(config)
    # These raise, before any file is read, where batch or model cannot be shared.
    own_share(config.run.batch_size, 0, accelerator.num_processes)
    if accelerator.is_fsdp2:
        require_shardable(config)
    require_fitting_files(config)
    need = disk_need(config)
    room = require_disk_space(config, need)
    warn_of_costly_conv3d(accelerator.device)
    processes = Processes.of(accelerator)
    is_main = processes.is_main
    if is_main:
        log.info(room)
        warn_of_short_shutdown(need.checkpoint_bytes)
    faces, cases = None, []
    if validates and is_main:
        # The text encoder is loaded before the model, so that they are never both in memory.
        faces, cases = _read_validation(config, accelerator.device)
    if validates:
        cases = processes.from_main(cases)
    shards = accelerator.is_fsdp2
    parts = assemble(
        config, accelerator.device, will_shard=shards, reads_weights=is_main or not shards
    )
    validate = None
    if validates:
        validate = _make_validator(config, parts, cases, faces, accelerator, processes)
    accelerator.init_trackers("")
    if is_main and validate is not None:
        folder = CheckpointFolder.of(config.run)
        newest = folder.newest()
        if newest is not None and folder.is_rated(newest[1]):
            validate.show_again(newest[1])
    try:
        result = train(config, parts, accelerator, validate)
    except BaseException:
        # end_training would wait for the other processes, which may still be in a collective.
        for tracker in accelerator.trackers:
            tracker.finish()
        raise
    if is_main:
        _finish(config, result)
    # All wait for the main one, since a launcher may end all processes with the first.
    processes.wait()
    accelerator.end_training()


def _rehearse(config: TrainConfig, args: argparse.Namespace) -> None:
    """Says what a step of the run takes, and writes it where that is asked for."""
    if args.gpus < 1 or args.vram <= 0:
        raise ValueError(
            f"gpus was {args.gpus} and vram {args.vram:g}; need a number of GPUs from 1 on, and "
            "their memory in GiB, such as 24."
        )
    sides = {name: getattr(args, name) for name in ("num_frames", "height", "width")}
    clip = ClipSize(**{name: side for name, side in sides.items() if side is not None})
    result = rehearse(config, num_gpus=args.gpus, clip=clip)
    log.info("%s\n%s", config.to_yaml(), describe(config, result, args.vram))
    if args.report is not None:
        write_report(args.report, config, result, args.vram)


def make_accelerator(config: TrainConfig) -> Accelerator:
    """The Accelerator that the configuration and `accelerate launch` ask for.

    Its trackers are not started yet.
    """
    return Accelerator(
        mixed_precision="bf16" if config.model.dtype == "bfloat16" else "no",
        log_with=trackers(config) or None,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=STEP_TIMEOUT)],
    )


def _finish(config: TrainConfig, result: Result) -> None:
    """Exports the weights of a finished run and says how to load them.

    Of a run that was stopped it says how to go on.
    """
    if result.num_steps < config.run.num_steps:
        # Whoever stops a run waits for it, and an export may take longer than they wait.
        log.info(
            "stopped after %d of %d steps, with %s; the same command goes on from there. To have "
            "it as weights: python -m stdrc_core.train export %s",
            result.num_steps,
            config.run.num_steps,
            result.checkpoint,
            config.run.out,
        )
        return
    path = config.run.out / f"{weights_name(config)}.safetensors"
    export(config, result.weights, path)
    log.info("%d steps done. %s", result.num_steps, how_to_load(config, path))
    log.info("last checkpoint: %s", result.checkpoint)
    best = CheckpointFolder.of(config.run).best()
    if best is not None and best[1] != result.num_steps:
        log.info(
            "best checkpoint by FaceSim: %s; to have it as weights: python -m stdrc_core.train "
            "export %s --checkpoint best",
            best[0],
            config.run.out,
        )


def _read_validation(
    config: TrainConfig, device: torch.device
) -> tuple[PackFinder | None, list[Case]]:
    """What validation needs besides the model: the face pack, if any, and the prepared items."""
    pack, section = config.objective.face_pack, config.validation
    faces = None if pack is None else open_face_pack(pack, device)
    # Gemma alone would fill a GPU that is small enough to need offloading.
    text_device = torch.device("cpu") if config.model.offload else device
    text = open_text_encoder(section.text_encoder, config.model.checkpoint, text_device, STAND_INS)
    return faces, read_cases(section, text, faces)


def _make_validator(
    config: TrainConfig,
    parts: Parts,
    cases: list[Case],
    faces: PackFinder | None,
    accelerator: Accelerator,
    processes: Processes,
) -> Validator:
    """The validator of a run; its scores and clips are shown by the run's trackers."""
    return Validator(
        config,
        model=parts.model,
        vae=parts.objective.encode_references.vae,
        manifest=parts.samples.cache.manifest,
        empty_context=parts.objective.empty_context,
        cases=cases,
        faces=faces,
        show=partial(show, accelerator),
        processes=processes,
    )
