"""`python -m stdrc_core.mini build`: makes the miniature world's weights, from nothing but a seed.

Each stage writes its result below the work folder and is skipped when that is there, so that a
build that was stopped goes on. Persons whose `is_unseen` is true take part in none of them.

    faces/                 the face pack, trained on portraits
    vae.safetensors        the VAE, trained on clips
    start.safetensors      a miniature with that VAE and a random transformer
    data/, cache/          drawn clips as files, and what `prepare` made of them
    base.safetensors       the same after the trainer's run mini_base.yaml: text alone
    stdrc_mini.safetensors and after mini.yaml: with the reference in context
    report.json            what each stage was measured at, and how long it took
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..checkpoint import vae_key, write_checkpoint
from ..checkpoint_files import open_checkpoint
from ..files import written_aside
from ..train.__main__ import main as train
from . import config
from .dataset import write_dataset
from .drawing import FPS, NUM_FRAMES, SIDE_PX
from .face_pack import train_detector, train_recognizer, write_face_pack
from .face_report import face_report
from .portraits import draw_portraits
from .vae_training import draw_clips, train_vae
from .weights import build_vae, random_tensors

log = logging.getLogger(__name__)

RECIPES = Path(__file__).parents[1] / "train" / "recipes"
REPORT = "report.json"
_NUM_PORTRAITS, _PORTRAITS_EACH, _NUM_EMPTY = 4000, 4, 3000
_NUM_VAE_CLIPS = 1500
# Persons that the face pack is measured on, their pictures, and scenes without a person.
_MEASURED = {"num_persons": 300, "per_person": 3, "num_empty": 200}


def build(argv: Sequence[str]) -> Path:
    """Runs all stages that are not done; returns the miniature's path."""
    args = _parser().parse_args(argv)
    work: Path = args.work
    stages: dict[str, Callable[[argparse.Namespace], None]] = {
        "faces": _build_faces,
        "vae.safetensors": _build_vae,
        "start.safetensors": _build_start,
        "cache": _build_cache,
        "base.safetensors": _build_base,
        "stdrc_mini.safetensors": _build_stdrc,
    }
    for name, stage in stages.items():
        # A cache goes on by itself; everything else is there whole or not at all.
        if name == "cache" or not (work / name).exists():
            started = time.perf_counter()
            stage(args)
            _note(work, f"{name}: time_s", round(time.perf_counter() - started))
    return work / name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stdrc_core.mini build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--work", type=Path, required=True, help="folder for all that is made")
    add("--seed", type=int, default=0)
    add("--recognizer-steps", type=int, default=900)
    add("--detector-steps", type=int, default=1500)
    add("--vae-steps", type=int, default=3500)
    add("--num-clips", type=int, default=5000)
    add("--base-steps", type=int, default=6000)
    add("--stdrc-steps", type=int, default=6000)
    return parser


def _build_faces(args: argparse.Namespace) -> None:
    portraits = draw_portraits(
        _NUM_PORTRAITS, _PORTRAITS_EACH, args.seed, unseen=False, num_empty=_NUM_EMPTY
    )
    detector = train_detector(portraits, num_steps=args.detector_steps, seed=args.seed)
    recognizer = train_recognizer(portraits, num_steps=args.recognizer_steps, seed=args.seed)
    partial = args.work / ".faces.partial"
    shutil.rmtree(partial, ignore_errors=True)
    write_face_pack(partial, detector, recognizer)
    unseen = draw_portraits(**_MEASURED, seed=args.seed + 1, unseen=True)
    _note(args.work, "faces: on unseen persons", face_report(partial, unseen))
    partial.rename(args.work / "faces")


def _build_vae(args: argparse.Namespace) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(args.seed)
        vae = build_vae()
    clips, boxes = draw_clips(_NUM_VAE_CLIPS, args.seed)
    train_vae(vae, clips, boxes, num_steps=args.vae_steps, seed=args.seed)
    with written_aside(args.work / "vae.safetensors") as partial:
        save_file({key: value.contiguous() for key, value in vae.state_dict().items()}, partial)


def _build_start(args: argparse.Namespace) -> None:
    vae = load_file(args.work / "vae.safetensors")
    last_block = len(config.ENCODER_LAYERS) - 1
    named = {vae_key(key, last_block): value.bfloat16() for key, value in vae.items()}
    metadata = {"transformer": config.TRANSFORMER_CONFIG, "vae": config.VAE_CONFIG}
    tensors = random_tensors(args.seed) | named
    write_checkpoint(args.work / "start.safetensors", tensors, metadata)


def _build_cache(args: argparse.Namespace) -> None:
    work = args.work
    manifest = write_dataset(work / "data", args.num_clips, args.seed)
    options = {
        "data": manifest,
        "out": work / "cache",
        "checkpoint": work / "start.safetensors",
        "faces": work / "faces",
        "text-encoder": "miniature",
        "num-frames": NUM_FRAMES,
        "height": SIDE_PX,
        "width": SIDE_PX,
        "fps": FPS,
        "shard-size": 256,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    train(["prepare", *words])


def _build_base(args: argparse.Namespace) -> None:
    _train_full(args.work, "mini_base", "start.safetensors", args.base_steps, "base.safetensors")


def _build_stdrc(args: argparse.Namespace) -> None:
    out = "stdrc_mini.safetensors"
    _train_full(args.work, "mini", "base.safetensors", args.stdrc_steps, out)


def _train_full(work: Path, recipe: str, base: str, num_steps: int, out: str) -> None:
    """The trainer's run of a recipe; its weights in a single file with all else of `base`."""
    changes = {
        "model.checkpoint": work / base,
        "data.cache": work / "cache",
        "run.out": work / recipe,
        "run.num_steps": num_steps,
        "objective.face_pack": work / "faces",
    }
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    train(["run", str(RECIPES / f"{recipe}.yaml"), *words])
    whole, trained = (
        open_checkpoint(path) for path in (work / base, work / recipe / "stdrc_full.safetensors")
    )
    tensors: dict[str, Tensor] = {}
    for source in (whole, trained):
        tensors |= dict(source.read(source.tensors, dtype=None, device="cpu"))
    write_checkpoint(work / out, tensors, dict(whole.config) | dict(trained.config))


def _note(work: Path, what: str, value: object) -> None:
    """Adds a line to the build's report."""
    path = work / REPORT
    notes = json.loads(path.read_text()) if path.is_file() else {}
    with written_aside(path) as partial:
        partial.write_text(json.dumps(notes | {what: value}, indent=1) + "\n")
