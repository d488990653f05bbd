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
    stdrc_mini_one_pass.safetensors   a LoRA on it after the run of distil_mini.yaml
    report.json               what was measured on each stage's result, how long it took, on which
                              commit and machine, and with which options

With `--start-from` the weights of an earlier build learn further. Its face recogniser stays, so
that likeness is measured as before, and its VAE's encoder, so that latents stay as they are; the
VAE's decoder goes on from its own, and mini_further.yaml takes the place of mini.yaml.
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
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..faces.recognizer import Recognizer
from ..files import sha256_of, write_json, written_aside
from ..ltx.checkpoint import vae_key, write_checkpoint
from ..ltx.checkpoint_files import open_checkpoint
from ..mini import config
from ..mini.drawing import FPS, NUM_FRAMES, SIDE_PX
from ..mini.shipped import CHECKPOINT_NAME, ONE_PASS_NAME
from ..mini.text import MINIATURE
from ..text_files import read_json
from ..train.__main__ import main as train
from ..train.prepare import PrepareConfig
from .dataset import MANIFEST, write_dataset
from .face_pack import (
    RECOGNIZER_FILE,
    train_detector,
    train_recognizer,
    write_detector,
    write_recognizer,
)
from .face_report import ON_UNSEEN, face_report
from .portraits import draw_portraits
from .provenance import commit_of, machine
from .random_weights import build_vae, random_tensors
from .vae_training import draw_clips, psnr, train_vae

log = logging.getLogger(__name__)

RECIPES = Path(__file__).parents[1] / "train" / "recipes"
DATA, BASE, REPORT = f"data/{MANIFEST}", "base.safetensors", "report.json"
# The weights of an earlier build, with the new VAE.
_EARLIER = "earlier.safetensors"
_PORTRAITS_EACH, _NUM_EMPTY, _NUM_PAIRS, _NUM_VAE_CLIPS = 4, 3000, 3000, 2400
# On how many persons the face pack is measured, with how many pictures each, and on how many scenes
# without a person and of two.
_MEASURED = {"num_persons": 300, "per_person": 3, "num_empty": 200, "num_pairs": 300}
_NUM_MEASURED_CLIPS = 60
# Which clips show two persons, and which of the others have four photos of their person.
_DUO_EVERY, _GALLERY_EVERY = 8, 3


def main(args: argparse.Namespace) -> None:
    """Runs the stages whose results are missing, up to `--until`."""
    _require_earlier_build(args)
    args.out.mkdir(parents=True, exist_ok=True)
    _require_same_options(args)
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
    started, begun_on = time.perf_counter(), commit_of()
    notes = STAGES[name](args)
    time_s = round(time.perf_counter() - started)
    made = {"time_s": time_s, "commit": begun_on, "machine": machine()}
    return notes | {f"{name}: {key}": value for key, value in made.items()}


def _require_earlier_build(args: argparse.Namespace) -> None:
    """Raises ValueError where `--start-from` lacks what a build goes on from."""
    if args.start_from is None:
        return
    for name in (CHECKPOINT_NAME, f"faces/{RECOGNIZER_FILE}"):
        if not (args.start_from / name).is_file():
            raise ValueError(
                f"start-from was {args.start_from}, which has no {name}; needs the folder of an "
                "earlier build, or stdrc_core/mini/weights."
            )


def _require_same_options(args: argparse.Namespace) -> None:
    """Notes the options of a new build; raises ValueError where it was begun with others."""
    given = {name: value for name, value in vars(args).items() if name not in _NOT_OF_RESULTS}
    if args.start_from is not None:
        given["start_from"] = sha256_of(args.start_from / CHECKPOINT_NAME)
    path = args.out / REPORT
    begun = read_json(path).get("options") if path.is_file() else None
    if begun is None:
        _note(args.out, {"options": given})
    elif begun != given:
        changed = sorted(name for name in begun | given if begun.get(name) != given.get(name))
        raise ValueError(
            f"{args.out} was begun with other options ({', '.join(changed)}); needs the same, or "
            "another --out."
        )


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
    run: Path | None = None,
    seed: int = 0,
    in_bfloat16: bool = False,
    compiled: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Trains the recipe `name` from the file `base` on the cache of the folder `work`, and writes
    the file `out`: the trained weights and all others of `base`, or a LoRA as it is.

    The run's folder is `run`, by default `work`/runs/`name`. `in_bfloat16` has the VAE in bfloat16,
    `compiled` compiles the transformer's blocks, and `changes` are further keys of the
    configuration. A run that was stopped goes on.
    """
    run = run or work / "runs" / name
    asked: dict[str, Any] = {
        "model.checkpoint": base,
        "data.cache": work / "cache",
        "run.out": run,
        "run.seed": seed,
        "objective.face_pack": work / "faces",
        "model.vae_dtype": "bfloat16" if in_bfloat16 else "float32",
        "model.compile": compiled,
        **(changes or {}),
    }
    words = [word for key, value in asked.items() for word in ("--set", f"{key}={value}")]
    train(["run", str(RECIPES / f"{name}.yaml"), *words])
    (trained_file,) = run.glob("stdrc_*.safetensors")
    if not trained_file.name.startswith("stdrc_full"):
        with written_aside(out) as path:
            shutil.copyfile(trained_file, path)
        return
    whole, trained = open_checkpoint(base), open_checkpoint(trained_file)
    tensors: dict[str, Tensor] = {}
    for source in (whole, trained):
        tensors |= dict(source.read(source.tensors, dtype=torch.bfloat16, device="cpu"))
    write_checkpoint(out, tensors, dict(whole.config) | dict(trained.config))


def _build_faces(args: argparse.Namespace) -> dict[str, Any]:
    counts = {"num_empty": _NUM_EMPTY, "num_pairs": _NUM_PAIRS}
    portraits = draw_portraits(args.num_persons, _PORTRAITS_EACH, args.seed, unseen=False, **counts)
    detector = train_detector(portraits, num_steps=args.detector_steps, seed=args.seed)
    folder = args.out / ".faces.partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_detector(folder, detector)
    if args.start_from is not None:
        shutil.copy(args.start_from / "faces" / RECOGNIZER_FILE, folder)
    else:
        options = {"num_steps": args.recognizer_steps, "seed": args.seed}
        write_recognizer(folder, train_recognizer(portraits, **options))
    unseen = draw_portraits(**_MEASURED, seed=args.seed + 1, unseen=True)
    report = face_report(folder, unseen)
    folder.rename(args.out / "faces")
    return {ON_UNSEEN: report}


def _build_vae(args: argparse.Namespace) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        vae = build_vae()
    if args.start_from is not None:
        tensors = load_file(args.start_from / CHECKPOINT_NAME)
        vae.load_state_dict({key: tensors[_vae_key(key)].float() for key in vae.state_dict()})
        vae.eval()
    clips = draw_clips(_NUM_VAE_CLIPS, args.seed, unseen=False)
    photos = draw_portraits(_NUM_VAE_CLIPS, 1, args.seed, unseen=False)
    train_vae(
        vae,
        clips,
        photos,
        Recognizer.from_pack(args.out / "faces"),
        num_steps=args.vae_steps,
        keeps_encoder=args.start_from is not None,
        seed=args.seed,
        in_bfloat16=args.bfloat16,
    )
    unseen = draw_clips(_NUM_MEASURED_CLIPS, args.seed + 1, unseen=True)
    measured = round(psnr(vae, unseen.pixels), 2)
    with written_aside(args.out / "vae.safetensors") as path:
        save_file({key: value.contiguous() for key, value in vae.state_dict().items()}, path)
    return {"vae: PSNR on unseen persons, dB": measured}


def _vae_key(key: str) -> str:
    """The name that a tensor of the VAE has in a miniature's file."""
    return vae_key(key, len(config.ENCODER_LAYERS) - 1)


def _with_new_vae(args: argparse.Namespace, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A miniature's tensors with the VAE that the build has trained."""
    vae = load_file(args.out / "vae.safetensors")
    return {**tensors, **{_vae_key(key): value.bfloat16() for key, value in vae.items()}}


def _build_start(args: argparse.Namespace) -> dict[str, Any]:
    metadata = {"transformer": config.TRANSFORMER_CONFIG, "vae": config.VAE_CONFIG}
    tensors = _with_new_vae(args, random_tensors(args.seed))
    write_checkpoint(args.out / "start.safetensors", tensors, metadata)
    return {}


def _build_data(args: argparse.Namespace) -> dict[str, Any]:
    folder = (args.out / DATA).parent
    options = {"duo_every": _DUO_EVERY, "gallery_every": _GALLERY_EVERY}
    write_dataset(folder, args.num_clips, args.seed, num_processes=args.num_processes, **options)
    return {}


def _build_cache(args: argparse.Namespace) -> dict[str, Any]:
    # An earlier build's encoder stays as it is, so that its latents need not wait for the VAE.
    earlier = args.start_from and args.start_from / CHECKPOINT_NAME
    prepare_clips(
        args.out / DATA,
        args.out / "cache",
        checkpoint=earlier or args.out / "start.safetensors",
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


def _train_mini(args: argparse.Namespace) -> dict[str, Any]:
    if args.start_from is None:
        return _train_on(args, recipe="mini", base=BASE, result=CHECKPOINT_NAME)
    earlier = open_checkpoint(args.start_from / CHECKPOINT_NAME)
    tensors = dict(earlier.read(earlier.tensors, dtype=torch.bfloat16, device="cpu"))
    write_checkpoint(args.out / _EARLIER, _with_new_vae(args, tensors), dict(earlier.config))
    return _train_on(args, recipe="mini_further", base=_EARLIER, result=CHECKPOINT_NAME)


# What each stage makes below OUT -> its function, which returns lines for the report.
STAGES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "faces": _build_faces,
    "vae.safetensors": _build_vae,
    DATA: _build_data,
    "start.safetensors": _build_start,
    "cache": _build_cache,
    BASE: partial(_train_on, recipe="mini_base", base="start.safetensors", result=BASE),
    CHECKPOINT_NAME: _train_mini,
    ONE_PASS_NAME: partial(
        _train_on, recipe="distil_mini", base=CHECKPOINT_NAME, result=ONE_PASS_NAME
    ),
}

# These need no other stage's result and could not use several cores well: they are made side by
# side, on a core each.
_NEED_A_SEED_ALONE = {"faces", DATA}
# Options that decide where and how fast a build is made, not what it is.
_NOT_OF_RESULTS = {"out", "until", "num_processes"}


def _note(out: Path, notes: dict[str, Any]) -> None:
    """Adds lines to the build's report."""
    path = out / REPORT
    stored = read_json(path) if path.is_file() else {}
    # What was stopped and continued took the time of all its runs.
    notes |= {key: stored.get(key, 0) + notes[key] for key in notes if key.endswith("time_s")}
    write_json(path, stored | notes)
    for what, value in notes.items():
        log.info("%s: %s", what, value)
