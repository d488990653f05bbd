"""`python -m stdrc_core.experiments two-people`: two people in one clip, each like its own photo.

The shipped miniature was trained with one person. This trains it further with drawn clips of two,
whose photos stand in two slots, and samples persons whom it has never seen. A stage whose result is
there is skipped, so that the same command goes on where it was stopped. It writes

    data/, cache/            drawn clips of two persons as files, and what `prepare` makes of them
    two_people.safetensors   after the trainer's run of mini_two_people.yaml
    two_people.json          the table, and each row minus the one without references
    two_people.md            the same as tables, mean ± standard error over pairs of persons
    two_people.png           photos beside each row's clips

FaceSim is measured on each side of the frame alone, with each of the two photos.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..faces.caching_finder import CachingFinder
from ..faces.finder import FaceFinder, open_face_pack
from ..faces.similarity import (
    PAD_GREY,
    cosines,
    facesim,
    largest_embeddings,
    largest_faces,
    spread,
)
from ..files import write_json, write_text
from ..generate.pipeline import Pipeline, Shot
from ..mini_build.build import prepare_clips, train_recipe
from ..mini_build.dataset import write_dataset
from ..mini_build.duo import Duo, draw_duos
from ..uint8 import to_uint8
from .models import SHOT, open_pipeline, round_trip
from .scores import sample_clips
from .sheets import compare_rows
from .tables import DECODED_CLIPS, TRUE_CLIPS, by_person, mean_and_error, summary, table

log = logging.getLogger(__name__)

CHECKPOINT_NAME = "two_people.safetensors"
_RECIPE = "mini_two_people"
_NUM_FRAMES = 8
# How many pairs of persons, and how many frames of each row, the contact sheet shows.
_SHEET_DUOS, _SHEET_FRAMES = 8, 2


@dataclass(frozen=True, kw_only=True)
class DuoScore:
    """What one clip scores: FaceSim of each side of the frame with each of the two photos.

    `left_first` is the left side's with the first person's photo, and so on.
    """

    left_first: float
    right_second: float
    left_second: float
    right_first: float
    found: float
    """The share of frames with a face at both sides."""


# Field of `DuoScore` -> its head in a table.
COLUMNS = {
    "left_first": "left face, first person",
    "right_second": "right face, second person",
    "left_second": "left face, second person",
    "right_first": "right face, first person",
    "found": "frames with both faces",
}
assert list(COLUMNS) == [field.name for field in fields(DuoScore)]
BEFORE, WITHOUT = "before training, both references", "without references"
BOTH, SWAPPED = "both references", "references swapped"


def main(args: argparse.Namespace) -> None:
    """Trains what is missing, samples, scores, and writes tables and picture."""
    if args.num_pairs < 2:
        raise ValueError(f"num-pairs was {args.num_pairs}; needs 2 or more.")
    args.out.mkdir(parents=True, exist_ok=True)
    weights = args.out / CHECKPOINT_NAME
    if not weights.is_file():
        _train(args, weights)
    duos = draw_duos(args.num_pairs, args.pairs_seed)
    faces = CachingFinder(open_face_pack(args.faces))
    scores, shown = _score(args, weights, duos, faces)
    results = compare(scores)
    asked = {"pairs": len(duos), "pairs_seed": args.pairs_seed, "seeds": args.num_seeds}
    write_json(args.out / "two_people.json", {"asked": asked} | results)
    write_text(args.out / "two_people.md", report(results, asked))
    sheet_duos = duos[:_SHEET_DUOS]
    compare_rows(
        args.out / "two_people.png",
        [duo.photos for duo in sheet_duos],
        [duo.caption for duo in sheet_duos],
        shown,
        num_frames=_SHEET_FRAMES,
    )
    log.info("%s", report(results, asked))


def score_clips(clips: Sequence[Tensor], duos: Sequence[Duo], faces: FaceFinder) -> list[DuoScore]:
    """The score of each clip `[F, h, w, 3]` uint8 against its two persons."""
    scores = []
    for clip, duo in zip(clips, duos, strict=True):
        e_refs = [largest_embeddings(to_uint8(photo), faces)[0] for photo in duo.photos]
        frames = clip[spread(len(clip), _NUM_FRAMES)]
        left, right = (largest_faces(half, faces) for half in each_side(frames))
        both = [a is not None and b is not None for a, b in zip(left, right, strict=True)]
        scores.append(
            DuoScore(
                left_first=facesim(cosines(left, e_refs[0])),
                right_second=facesim(cosines(right, e_refs[1])),
                left_second=facesim(cosines(left, e_refs[1])),
                right_first=facesim(cosines(right, e_refs[0])),
                found=sum(both) / len(both),
            )
        )
    return scores


def each_side(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Frames `[F, h, w, 3]` uint8 with the right half grey, and the same with the left half grey.

    The miniature's detector has learned from frames with one face; of two faces it finds neither
    exactly.
    """
    left, right = frames.clone(), frames.clone()
    middle = frames.shape[2] // 2
    left[:, :, middle:] = PAD_GREY
    right[:, :, :middle] = PAD_GREY
    return left, right


def compare(scores: Mapping[str, Sequence[Sequence[DuoScore]]]) -> dict[str, Any]:
    """`rows`, each row's columns, and `gains`, sampled rows minus the row without references: means
    over pairs of persons with their standard errors, for `gains` of each pair's own difference.

    `scores` has, for each row and seed, the score of each pair of persons.
    """
    gains = {
        name: {
            column: mean_and_error(by_person(own, column) - by_person(scores[WITHOUT], column))
            for column in COLUMNS
        }
        for name, own in scores.items()
        if name in (BEFORE, BOTH, SWAPPED)
    }
    return {"rows": {name: summary(own, COLUMNS) for name, own in scores.items()}, "gains": gains}


def report(results: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """The tables in Markdown, and what they are of: `asked`, as two_people.json has it."""
    return (
        f"{asked['pairs']} pairs of unseen persons, {asked['seeds']} seed(s); mean ± standard "
        "error over pairs. The first person is the one whom the caption puts at the left.\n\n"
        + table(results["rows"], COLUMNS)
        + f"\nMinus the row {WITHOUT!r}, by pair:\n\n"
        + table(results["gains"], COLUMNS)
    )


def _train(args: argparse.Namespace, weights: Path) -> None:
    manifest = write_dataset(
        args.out / "data",
        args.num_clips,
        args.seed,
        duo_every=1,
        num_processes=args.num_processes,
    )
    prepare_clips(
        manifest,
        args.out / "cache",
        checkpoint=args.checkpoint,
        faces=args.faces,
        num_processes=args.num_processes,
        # A drawn clip shows whom it is said to show, whatever the detector makes of two faces.
        min_cosine=-1,
        in_bfloat16=args.bfloat16,
    )
    train_recipe(
        _RECIPE,
        weights,
        args.checkpoint,
        args.out,
        seed=args.seed,
        in_bfloat16=args.bfloat16,
        compiled=args.compile,
    )


def _score(
    args: argparse.Namespace, weights: Path, duos: Sequence[Duo], faces: FaceFinder
) -> tuple[dict[str, list[list[DuoScore]]], dict[str, list[Tensor]]]:
    """Each row's scores by seed, and its clips of the first pairs of persons."""
    shot = replace(SHOT, num_steps=args.steps)
    trained, before = open_pipeline(weights), open_pipeline(args.checkpoint)
    photos, swapped = [duo.photos for duo in duos], [duo.photos[::-1] for duo in duos]
    alone = shot.guided(reference_scale=0.0)
    rows: dict[str, tuple[Pipeline, Sequence[Sequence[Tensor]], Shot]] = {
        BEFORE: (before, photos, shot),
        WITHOUT: (trained, photos, alone),
        BOTH: (trained, photos, shot),
        SWAPPED: (trained, swapped, shot),
    }
    scores: dict[str, list[list[DuoScore]]] = {name: [] for name in rows}
    shown: dict[str, list[Tensor]] = {}
    for name, (pipeline, given, how) in rows.items():
        asked = [(own, duo.caption) for own, duo in zip(given, duos, strict=True)]
        for seed in range(args.num_seeds):
            clips = sample_clips(pipeline, asked, how, seed, name)
            scores[name].append(score_clips(clips, duos, faces))
            shown.setdefault(name, clips[:_SHEET_DUOS])
    truth = [duo.true_clip() for duo in duos]
    for name, clips in ((TRUE_CLIPS, truth), (DECODED_CLIPS, round_trip(trained, truth))):
        scores[name] = [score_clips(clips, duos, faces)]
        shown[name] = clips[:_SHEET_DUOS]
    return scores, shown
