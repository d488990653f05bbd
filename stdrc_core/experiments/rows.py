"""The ablation's rows: their recipes, their training on copies, and how each is sampled."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import sha256_of
from ..generate.pipeline import Pipeline
from ..mini.shipped import CHECKPOINT_NAME
from ..mini_build.build import BASE, DATA, RECIPES, prepare_clips, train_recipe
from ..text_files import read_text
from ..train.cache import Cache
from ..train.config import TrainConfig, load_config
from . import ablation_section as names
from .copies import single_clips, write_copies
from .kept import own_folder
from .models import REFERENCE_SCALE, TEXT_SCALE, open_pipeline
from .workplace import FACE_FILES, Workplace

COPIES = "copies"
_COPIES_SEED = 0
# A run's file whose presence says that it is trained to its end.
_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: which weights it has, and how they are guided."""

    name: str
    file: str | None = None
    """A file of the build; None for a row that is trained."""
    recipe: str | None = None
    """The name of the trainer's recipe of a row that is trained."""
    text_scale: float = TEXT_SCALE
    reference_scale: float = TEXT_SCALE


BASE_ROW = Row(name=names.BASE, file=BASE, reference_scale=0.0)
SHIPPED_ROW = Row(name=names.SHIPPED, file=CHECKPOINT_NAME, reference_scale=REFERENCE_SCALE)
# The paper's order; each stands on top of the one before.
PAPER_ROWS = (
    BASE_ROW,
    Row(name="+ reference concat (overlap)", recipe="mini_overlap"),
    Row(name="+ TASS-RoPE", recipe="mini_tass"),
    Row(name="+ augmentation", recipe="mini_augmentation"),
    Row(name="+ identity losses", recipe="mini_identity"),
    Row(name="+ decoupled guidance", recipe="mini_identity", reference_scale=REFERENCE_SCALE),
)
ROWS = (*PAPER_ROWS, SHIPPED_ROW)
# What the paper says keeps the model from copying its reference.
AGAINST_COPYING = ("+ TASS-RoPE", "+ augmentation")
TRAINED = tuple(dict.fromkeys(row.recipe for row in ROWS if row.recipe is not None))


def opener(place: Workplace, row: Row, training: int) -> Callable[[], Pipeline]:
    """What opens a row's pipeline, and trains its weights first where they are not there."""
    if row.file is not None:
        return lambda: open_pipeline(place.build / row.file)
    return lambda: open_pipeline(train_row(place, row.recipe, training))


def training_facts(args: argparse.Namespace, row: Row) -> dict[str, Any]:
    """What decides a row's weights beside the build's files, as plain values; nothing for those of
    the build."""
    if row.recipe is None:
        return {}
    changes = step_changes(row.recipe, args.training_steps)
    return {
        "recipe": read_text(RECIPES / f"{row.recipe}.yaml"),
        "changes": changes,
        "copies": args.num_copies,
        "bfloat16": args.bfloat16,
        "compile": args.compile,
    }


def train_row(place: Workplace, recipe: str, training: int) -> Path:
    """The weights of a recipe's training with the seed `training`, trained now unless they are
    there; a training that was stopped goes on."""
    row = next(row for row in ROWS if row.recipe == recipe)
    args, base = place.args, place.build / BASE
    asked = training_facts(args, row) | {
        "base": place.digests[BASE],
        "faces": [place.digests[name] for name in FACE_FILES],
        "manifest": place.digests[DATA],
    }
    folder = own_folder(place.out / "trained" / f"{recipe}_{training}", asked)
    path = folder / _WEIGHTS
    if not path.is_file():
        copies = prepare_copies(place)
        changes = step_changes(recipe, args.training_steps) | {
            "objective.face_pack": place.build / "faces",
        }
        train_recipe(
            recipe,
            path,
            base,
            copies,
            run=folder / "run",
            seed=training,
            in_bfloat16=args.bfloat16,
            compiled=args.compile,
            changes=changes,
        )
    return path


def check_copies(args: argparse.Namespace) -> None:
    """Raises ValueError where the build has fewer clips of one person than copies are asked for,
    and where the recipes do not train alike."""
    num_training_steps(args)
    num_clips = len(single_clips(args.build / DATA))
    if num_clips < args.num_copies:
        raise ValueError(
            f"num-copies was {args.num_copies}, but {args.build / DATA} has {num_clips} clips of "
            "one person; needs no more than these."
        )


def prepare_copies(place: Workplace) -> Path:
    """The folder OUT/copies with the clips that rows are trained on and their cache, made now
    unless it is there."""
    args, manifest = place.args, place.build / DATA
    asked = {
        "manifest": place.digests[DATA],
        "base": place.digests[BASE],
        "faces": [place.digests[name] for name in FACE_FILES],
        "copies": args.num_copies,
        "bfloat16": args.bfloat16,
    }
    folder = own_folder(place.out / COPIES, asked)
    prepared = folder / "prepared"
    if not prepared.is_file():
        copies = write_copies(manifest, folder / "data", args.num_copies, _COPIES_SEED)
        prepare_clips(
            copies,
            folder / "cache",
            checkpoint=place.build / BASE,
            faces=place.build / "faces",
            num_processes=args.num_processes,
            in_bfloat16=args.bfloat16,
        )
        prepared.touch()
    return folder


def num_clips(place: Workplace) -> int:
    """How many of the copies `prepare` has kept, which rows are trained on."""
    return len(Cache(prepare_copies(place) / "cache"))


def num_training_steps(args: argparse.Namespace) -> int:
    """How many steps each row is trained for.

    Raises ValueError where the recipes differ in that, since their rows could not be compared.
    """
    if args.training_steps is not None:
        return args.training_steps
    steps = {_recipe(name).run.num_steps for name in TRAINED}
    if len(steps) > 1:
        raise ValueError(
            f"the recipes {', '.join(TRAINED)} have {sorted(steps)} steps; needs the same of all."
        )
    return steps.pop()


def recipe_digests() -> dict[str, str]:
    """Name -> SHA-256 of each recipe that a row is trained by."""
    return {name: sha256_of(RECIPES / f"{name}.yaml") for name in TRAINED}


def step_changes(recipe: str, num_steps: int | None) -> dict[str, int]:
    """Keys of a recipe and their values for a training of `num_steps` steps, whose warm-up and
    decay take the same shares of it; nothing for None, or for the recipe's own number."""
    config = _recipe(recipe)
    if num_steps in (None, config.run.num_steps):
        return {}
    share = num_steps / config.run.num_steps
    optimizer = config.optimizer
    return {
        "run.num_steps": num_steps,
        "optimizer.num_warmup_steps": round(share * optimizer.num_warmup_steps),
        "optimizer.num_decay_steps": round(share * optimizer.num_decay_steps),
    }


def _recipe(name: str) -> TrainConfig:
    return load_config(RECIPES / f"{name}.yaml")
