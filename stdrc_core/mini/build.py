"""`python -m stdrc_core.mini build`: makes the miniature world's weights, from nothing but a seed.

Each stage writes its result below the work folder and is skipped when that is there, so that a
build that was stopped goes on. Persons whose `is_unseen` is true take part in none of them.

    faces/                 the face pack, trained on portraits
    vae.safetensors        the VAE, trained on clips
    start.safetensors      a miniature with that VAE and a random transformer
    data/, cache/          drawn clips as files, and what `prepare` made of them
    base/, stdrc/          the trainer's runs: text alone, then with the reference in context
    stdrc_mini.safetensors the miniature
"""

from __future__ import annotations

import argparse
import logging
import shutil
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
from .face_pack import train_detector, train_recognizer, write_face_pack
from .portraits import draw_portraits
from .vae_training import draw_clips, train_vae
from .weights import build_vae, random_tensors

log = logging.getLogger(__name__)

RECIPES = Path(__file__).parents[1] / "train" / "recipes"
FACES, CHECKPOINT = "faces", "stdrc_mini.safetensors"
_NUM_PORTRAITS, _PORTRAITS_EACH, _NUM_EMPTY = 4000, 4, 3000
_NUM_VAE_CLIPS = 1500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recognizer-steps", type=int, default=1000)
    parser.add_argument("--detector-steps", type=int, default=1500)
    parser.add_argument("--vae-steps", type=int, default=4000)
    parser.add_argument("--num-clips", type=int, default=6000)
    parser.add_argument("--base-steps", type=int, default=4000)
    parser.add_argument("--stdrc-steps", type=int, default=4000)


def build(args: argparse.Namespace) -> Path:
    """All stages in order; returns the miniature's path."""
    work = args.work
    work.mkdir(parents=True, exist_ok=True)
    if not (work / FACES).is_dir():
        _build_faces(args)
    if not (work / "vae.safetensors").is_file():
        _build_vae(args)
    start = work / "start.safetensors"
    if not start.is_file():
        write_miniature_with_vae(start, load_file(work / "vae.safetensors"), args.seed)
    manifest = write_dataset(work / "data", args.num_clips, args.seed)
    size = ["--num-frames", "17", "--height", "128", "--width", "128", "--fps", "24"]
    paths = {"data": manifest, "out": work / "cache", "checkpoint": start, "faces": work / FACES}
    options = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    train(["prepare", *options, *size, "--text-encoder", "miniature"])
    base = work / "base.safetensors"
    if not base.is_file():
        _train(work, "mini_base", start, args.base_steps)
        _with_transformer(base, start, work / "mini_base" / "stdrc_full.safetensors")
    final = work / CHECKPOINT
    if not final.is_file():
        _train(work, "mini", base, args.stdrc_steps)
        _with_transformer(final, base, work / "mini" / "stdrc_full.safetensors")
    return final


def _build_faces(args: argparse.Namespace) -> None:
    portraits = draw_portraits(
        _NUM_PORTRAITS, _PORTRAITS_EACH, args.seed, unseen=False, num_empty=_NUM_EMPTY
    )
    detector = train_detector(portraits, num_steps=args.detector_steps, seed=args.seed)
    recognizer = train_recognizer(portraits, num_steps=args.recognizer_steps, seed=args.seed)
    partial = args.work / f".{FACES}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    write_face_pack(partial, detector, recognizer).rename(args.work / FACES)


def _build_vae(args: argparse.Namespace) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        vae = build_vae()
    clips, boxes = draw_clips(_NUM_VAE_CLIPS, args.seed)
    train_vae(vae, clips, boxes, num_steps=args.vae_steps, seed=args.seed)
    with written_aside(args.work / "vae.safetensors") as partial:
        save_file({key: value.contiguous() for key, value in vae.state_dict().items()}, partial)


def write_miniature_with_vae(path: Path, vae: dict[str, Tensor], seed: int) -> Path:
    """A random miniature, but with the VAE of these tensors (diffusers' names)."""
    last_block = len(config.ENCODER_LAYERS) - 1
    named = {vae_key(key, last_block): value.bfloat16() for key, value in vae.items()}
    metadata = {"transformer": config.TRANSFORMER_CONFIG, "vae": config.VAE_CONFIG}
    return write_checkpoint(path, random_tensors(seed) | named, metadata)


def _train(work: Path, recipe: str, checkpoint: Path, num_steps: int) -> None:
    changes = {
        "model.checkpoint": checkpoint,
        "data.cache": work / "cache",
        "run.out": work / recipe,
        "run.num_steps": num_steps,
    }
    if recipe != "mini_base":
        changes["objective.face_pack"] = work / FACES
    pairs = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    train(["run", str(RECIPES / f"{recipe}.yaml"), *pairs])


def _with_transformer(path: Path, base: Path, trained: Path) -> Path:
    """The single file `base` with the transformer and the settings of `trained`."""
    whole, part = open_checkpoint(base), open_checkpoint(trained)
    tensors = {
        name: tensor
        for source in (whole, part)
        for name, tensor in source.read(source.tensors, dtype=None, device="cpu")
    }
    return write_checkpoint(path, tensors, dict(whole.config) | dict(part.config))
