"""`python -m stdrc_core.mini_build`: makes the miniature's weights, from nothing but a seed.

Each stage writes its result below OUT. A stage whose result is there is skipped, so that the same
command goes on where it was stopped. Persons whose `is_unseen` is true take part in no stage.

    faces/                    the face pack, trained on portraits
    vae.safetensors           the VAE, trained on clips
    start.safetensors         a miniature with that VAE and a random transformer
    data/                     drawn clips as files, and their manifest
    cache/                    what `python -m stdrc_core.train prepare` makes of them
    base.safetensors          after the trainer's run of mini_base.yaml, on text alone
    stdrc_mini.safetensors    after the trainer's run of mini.yaml, with the reference in context
    report.json               what was measured on each stage's result, and how long it took
"""

from __future__ import annotations

import argparse
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..files import write_json, written_aside
from ..ltx.checkpoint import vae_key, write_checkpoint
from ..ltx.checkpoint_files import open_checkpoint
from ..mini import config
from ..mini.drawing import FPS, NUM_FRAMES, SIDE_PX
from ..mini.shipped import CHECKPOINT_NAME
from ..mini.text import MINIATURE
from ..text_files import read_json
from ..train.__main__ import main as train
from ..train.prepare import PrepareConfig
from .dataset import MANIFEST, write_dataset
from .face_pack import train_detector, train_recognizer, write_face_pack
from .face_report import face_report
from .portraits import draw_portraits
from .random_weights import build_vae, random_tensors
from .vae_training import draw_clips, psnr, train_vae

log = logging.getLogger(__name__)

RECIPES = Path(__file__).parents[1] / "train" / "recipes"
DATA, BASE, REPORT = f"data/{MANIFEST}", "base.safetensors", "report.json"
_PORTRAITS_EACH, _NUM_EMPTY, _NUM_VAE_CLIPS = 4, 3000, 2400
# On how many persons the face pack is measured, with how many pictures each, and on how many scenes
# without a person.
_MEASURED = {"num_persons": 300, "per_person": 3, "num_empty": 200}
_NUM_MEASURED_CLIPS = 60
NO_CHANGES: Mapping[str, Any] = MappingProxyType({})


def main(args: argparse.Namespace) -> None:
    """Runs the stages whose results are missing, up to `--until`."""
    args.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    try:
        _run_stages(args)
    finally:
        # Some stages run side by side, so that this is less than the sum of their times.
        _note(args.out, {"the whole build: time_s": round(time.perf_counter() - started)})


def _run_stages(args: argparse.Namespace) -> None:
    names = list(STAGES)
    if args.until:
        names = names[: names.index(args.until) + 1]
    # A cache may be there in part, and `prepare` goes on with it; all else is whole or not there.
    due = [name for name in names if name == "cache" or not (args.out / name).exists()]
    together = [name for name in due if name in _NEED_A_SEED_ALONE]
    if len(together) > 1 and args.num_processes > 1:
        alone = argparse.Namespace(**vars(args) | {"num_processes": 1})
        width, context = min(len(together), args.num_processes), get_context("spawn")
        with ProcessPoolExecutor(width, context, _be_one_of_several) as pool:
            for notes in pool.map(partial(_run_stage, alone), together):
                _note(args.out, notes)
        due = [name for name in due if name not in together]
    for name in due:
        _note(args.out, _run_stage(args, name))


def _run_stage(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """Makes the result of the stage `name`; returns lines for the build's report."""
    started = time.perf_counter()
    notes = STAGES[name](args)
    return notes | {f"{name}: time_s": round(time.perf_counter() - started)}


def _be_one_of_several() -> None:
    # The processes share the machine's cores, one each.
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(message)s")


def train_recipe(
    name: str,
    out: Path,
    base: Path,
    work: Path,
    *,
    seed: int = 0,
    in_bfloat16: bool = False,
    compiled: bool = False,
    changes: Mapping[str, Any] = NO_CHANGES,
) -> None:
    """Trains the recipe `name` from the file `base` on the cache of the folder `work`, and writes
    the file `out`: the trained weights, and all others of `base`.

    `in_bfloat16` has the VAE in bfloat16, `compiled` compiles the transformer's blocks. `changes`
    are further keys of the recipe and their values, such as another `run.out`. A run that was
    stopped goes on.
    """
    values: dict[str, Any] = {
        "model.checkpoint": base,
        "data.cache": work / "cache",
        "run.out": work / "runs" / name,
        "run.seed": seed,
        "objective.face_pack": work / "faces",
        "model.vae_dtype": "bfloat16" if in_bfloat16 else "float32",
        "model.compile": compiled,
    } | dict(changes)
    words = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    train(["run", str(RECIPES / f"{name}.yaml"), *words])
    whole, trained = (
        open_checkpoint(base),
        open_checkpoint(values["run.out"] / "stdrc_full.safetensors"),
    )
    tensors: dict[str, Tensor] = {}
    for source in (whole, trained):
        tensors |= dict(source.read(source.tensors, dtype=torch.bfloat16, device="cpu"))
    write_checkpoint(out, tensors, dict(whole.config) | dict(trained.config))


def _build_faces(args: argparse.Namespace) -> dict[str, Any]:
    portraits = draw_portraits(
        args.num_persons, _PORTRAITS_EACH, args.seed, unseen=False, num_empty=_NUM_EMPTY
    )
    detector = train_detector(portraits, num_steps=args.detector_steps, seed=args.seed)
    recognizer = train_recognizer(portraits, num_steps=args.recognizer_steps, seed=args.seed)
    folder = args.out / ".faces.partial"
    shutil.rmtree(folder, ignore_errors=True)
    write_face_pack(folder, detector, recognizer)
    unseen = draw_portraits(**_MEASURED, seed=args.seed + 1, unseen=True)
    report = face_report(folder, unseen)
    folder.rename(args.out / "faces")
    return {"faces: on unseen persons": report}


def _build_vae(args: argparse.Namespace) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        vae = build_vae()
    clips, boxes = draw_clips(_NUM_VAE_CLIPS, args.seed, unseen=False)
    photos = draw_portraits(_NUM_VAE_CLIPS, 1, args.seed, unseen=False)
    options = {"num_steps": args.vae_steps, "in_bfloat16": args.bfloat16, "seed": args.seed}
    train_vae(vae, clips, boxes, photos, **options)
    unseen, _ = draw_clips(_NUM_MEASURED_CLIPS, args.seed + 1, unseen=True)
    measured = round(psnr(vae, unseen), 2)
    with written_aside(args.out / "vae.safetensors") as path:
        save_file({key: value.contiguous() for key, value in vae.state_dict().items()}, path)
    return {"vae: PSNR on unseen persons, dB": measured}


def _build_start(args: argparse.Namespace) -> dict[str, Any]:
    vae = load_file(args.out / "vae.safetensors")
    last_block = len(config.ENCODER_LAYERS) - 1
    named = {vae_key(key, last_block): value.bfloat16() for key, value in vae.items()}
    metadata = {"transformer": config.TRANSFORMER_CONFIG, "vae": config.VAE_CONFIG}
    tensors = random_tensors(args.seed) | named
    write_checkpoint(args.out / "start.safetensors", tensors, metadata)
    return {}


def _build_data(args: argparse.Namespace) -> dict[str, Any]:
    folder = (args.out / DATA).parent
    write_dataset(folder, args.num_clips, args.seed, num_processes=args.num_processes)
    return {}


def _build_cache(args: argparse.Namespace) -> dict[str, Any]:
    prepare_clips(
        args.out / DATA,
        args.out / "cache",
        checkpoint=args.out / "start.safetensors",
        faces=args.out / "faces",
        num_processes=args.num_processes,
        in_bfloat16=args.bfloat16,
    )
    return {}


def prepare_clips(
    manifest: Path,
    out: Path,
    *,
    checkpoint: Path,
    faces: Path,
    num_processes: int,
    min_cosine: float = PrepareConfig.min_cosine,
    in_bfloat16: bool = False,
) -> None:
    """Makes the cache `out` of the drawn clips in `manifest`, in `num_processes` processes.

    A cache that was begun is continued. `in_bfloat16` has the VAE in bfloat16; else `prepare`
    chooses its dtype.
    """
    options = {
        "data": manifest,
        "out": out,
        "checkpoint": checkpoint,
        "faces": faces,
        "min-cosine": min_cosine,
        "text-encoder": MINIATURE,
        "num-frames": NUM_FRAMES,
        "height": SIDE_PX,
        "width": SIDE_PX,
        "fps": FPS,
        "shard-size": 128,
        "world-size": num_processes,
    }
    if in_bfloat16:
        options["vae-dtype"] = "bfloat16"
    words = [f"--{name}={value}" for name, value in options.items()]
    with ProcessPoolExecutor(num_processes, get_context("spawn"), _be_one_of_several) as pool:
        list(pool.map(partial(_prepare_share, words), range(num_processes)))


def _prepare_share(words: list[str], rank: int) -> None:
    train(["prepare", *words, "--rank", str(rank)])


def _train_on(args: argparse.Namespace, *, recipe: str, base: str, result: str) -> dict[str, Any]:
    options = {"seed": args.seed, "in_bfloat16": args.bfloat16, "compiled": args.compile}
    train_recipe(recipe, args.out / result, args.out / base, args.out, **options)
    return {}


# What each stage makes below OUT -> its function, which returns lines for the report.
STAGES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "faces": _build_faces,
    "vae.safetensors": _build_vae,
    DATA: _build_data,
    "start.safetensors": _build_start,
    "cache": _build_cache,
    BASE: partial(_train_on, recipe="mini_base", base="start.safetensors", result=BASE),
    CHECKPOINT_NAME: partial(_train_on, recipe="mini", base=BASE, result=CHECKPOINT_NAME),
}

# These are made side by side on a core each; the first two could not use more.
_NEED_A_SEED_ALONE = {"faces", "vae.safetensors", DATA}


def _note(out: Path, notes: dict[str, Any]) -> None:
    """Adds lines to the build's report."""
    path = out / REPORT
    stored = read_json(path) if path.is_file() else {}
    # What was stopped and continued took the time of all its runs.
    notes |= {key: stored.get(key, 0) + notes[key] for key in notes if key.endswith("time_s")}
    write_json(path, stored | notes)
    for what, value in notes.items():
        log.info("%s: %s", what, value)
