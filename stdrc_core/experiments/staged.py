"""`python -m stdrc_core.experiments staged`: staged clips against direct ones, best-of-N of both.

Two ways to a clip of an unseen person are compared. Direct clips are made at once from photo and
prompt, and of N clips the one most like the photo is kept. Staged clips are made as `python -m
stdrc_core.generate --staged` makes them: of N first frames the one most like the photo is animated.
One batch of candidates gives the best of 1, 2, 4 and 8, since fewer candidates are the first ones
of more. It writes

    staged.json   means and standard errors over persons: each row, and staged minus direct
    staged.md     the same as tables
    staged.png    the same as curves over N
    parts/        what each person and seed scored, and pictures of the first of them; the same
                  command again makes only what is missing

The candidates are chosen by the recogniser that then measures them, so that part of what a larger N
gains in FaceSim is that choice. A time is one clip's share of sampling its candidates, of measuring
them where there was a choice, and of the animation, on the machine that ran it.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from ..faces.caching_finder import CachingFinder
from ..faces.finder import open_face_pack
from ..faces.similarity import spread
from ..files import write_json, write_text, written_aside
from ..generate.pipeline import Pipeline, Shot
from ..method.reference import fit_reference
from ..mini.drawing import NUM_FRAMES, SIDE_PX
from ..mini.text import MiniatureText
from ..text_files import read_json, read_text
from ..uint8 import to_uint8
from ..video import contact_sheet
from .best_of_n import (
    DIRECT,
    NUM_CANDIDATES,
    STAGED,
    Judges,
    Scored,
    StagedScore,
    drawn,
    row_name,
    run,
)
from .models import SHOT, open_pipeline, open_reader
from .scores import Case, draw_cases
from .tables import DECODED_CLIPS, by_person, mean_and_error, summary, table

log = logging.getLogger(__name__)

# Seeds are so far apart that this many persons have noise of their own.
_MAX_PERSONS = 100_000
# Of how many persons pictures are kept, and how many pictures stand in a line.
_NUM_SHOWN, _NUM_TILES = 6, 6
# Field of `StagedScore` -> its head in a table.
COLUMNS = {
    "facesim": "FaceSim",
    "first_frame": "FaceSim of the first frame",
    "motion": "motion (face widths a frame)",
    "caption": "caption adherence",
    "time_s": "time (s)",
}


def main(args: argparse.Namespace) -> None:
    """Samples and scores what is missing, and writes tables and plot."""
    if args.num_persons < 1 or len(set(args.seeds)) < len(args.seeds):
        raise ValueError(
            f"num-persons was {args.num_persons} and seeds {args.seeds}; needs 1 person or more, "
            "and each seed once."
        )
    args.out.mkdir(parents=True, exist_ok=True)
    shot = replace(SHOT, num_steps=args.steps)
    cases = draw_cases(args.num_persons, args.persons_seed)
    pipeline = open_pipeline(args.checkpoint)
    judges = Judges(
        faces=CachingFinder(open_face_pack(args.faces)),
        reader=open_reader(args.reader or args.out / "reader.pt", args.persons_seed),
    )
    made_by = {"weights": _digest(args.checkpoint), "faces": args.faces.name}
    _warm_up(pipeline, cases[0], shot)
    by_seed: list[list[dict[str, StagedScore]]] = []
    for seed in args.seeds:
        persons = []
        for i, case in enumerate(tqdm(cases, f"seed {seed}", unit="person")):
            own = replace(shot, seed=(seed * _MAX_PERSONS + i) * max(NUM_CANDIDATES))
            asked = made_by | _asked(case, own)
            path = args.out / "parts" / f"person_{i:04}_seed_{seed}.json"
            make = partial(run, pipeline, case, own, judges)
            persons.append(_part(path, asked, make, case if i < _NUM_SHOWN else None))
        by_seed.append(persons)
    truth = []
    for i, case in enumerate(tqdm(cases, "drawn clips", unit="person")):
        path, asked = args.out / "parts" / f"person_{i:04}_drawn.json", made_by | _asked(case)
        truth.append(_part(path, asked, partial(drawn, pipeline, case, judges)))
    results = summarize(by_seed, [truth])
    asked = {"persons": len(cases), "persons_seed": args.persons_seed, "seeds": args.seeds}
    asked |= made_by | {"shot": dataclasses.asdict(shot)}
    write_json(args.out / "staged.json", {"asked": asked} | results)
    write_text(args.out / "staged.md", report(results, asked))
    plot(args.out / "staged.png", results["rows"])
    log.info("%s\n%s", args.out / "staged.md", read_text(args.out / "staged.md"))


def summarize(
    by_seed: Sequence[Sequence[Mapping[str, StagedScore]]],
    drawn_by_seed: Sequence[Sequence[Mapping[str, StagedScore]]],
) -> dict[str, Any]:
    """`rows`, each row's columns, and `differences`, staged minus direct of one N in pairs of one
    person: means over persons with their standard errors.

    `by_seed` has, for each seed, each person's rows of sampled clips; `drawn_by_seed` has those of
    drawn clips.
    """
    scores = {
        name: [[person[name] for person in persons] for persons in source]
        for source in (by_seed, drawn_by_seed)
        for name in source[0][0]
    }
    differences = {}
    for count in NUM_CANDIDATES:
        staged, direct = (scores[row_name(way, count)] for way in (STAGED, DIRECT))
        differences[f"best of {count}"] = {
            column: mean_and_error(by_person(staged, column) - by_person(direct, column))
            for column in COLUMNS
        }
    rows = {name: summary(each, COLUMNS) for name, each in scores.items()}
    return {"rows": rows, "differences": differences}


def report(results: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """The tables in Markdown, and what they are of: `asked`, as staged.json has it."""
    return (
        f"{asked['persons']} unseen persons, {len(asked['seeds'])} seed(s), "
        f"{asked['shot']['num_steps']} steps; mean ± standard error over persons.\n\n"
        + table(results["rows"], COLUMNS)
        + "\nStaged minus direct, in pairs of one person:\n\n"
        + table(results["differences"], COLUMNS)
    )


def plot(path: Path, rows: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Draws each column over N in a panel of its own; a dashed line is where a perfect generator
    with this VAE would be."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.2), layout="constrained")
    for axes, (column, label) in zip(
        figure.subplots(1, len(COLUMNS)), COLUMNS.items(), strict=True
    ):
        for way in (DIRECT, STAGED):
            points = [rows[row_name(way, count)][column] for count in NUM_CANDIDATES]
            means, errors = ([p[key] for p in points] for key in ("mean", "standard_error"))
            axes.errorbar(NUM_CANDIDATES, means, errors, label=way, marker=".", capsize=2)
        axes.axhline(rows[DECODED_CLIPS][column]["mean"], color="grey", linestyle="--")
        axes.set_xscale("log", base=2)
        axes.set_xticks(NUM_CANDIDATES, [str(count) for count in NUM_CANDIDATES])
        axes.set(title=label, xlabel="N")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    with written_aside(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=110)


def _part(
    path: Path,
    asked: Mapping[str, Any],
    make: Callable[[], dict[str, Scored]],
    shown: Case | None = None,
) -> dict[str, StagedScore]:
    """The scores in a file, if it was made of the same (`asked`), else what `make` makes, which is
    then written to the file.

    Where `shown` is given, what is made becomes a picture beside the file, too.
    """
    if path.is_file():
        part = read_json(path)
        if part["asked"] == asked:
            return {name: StagedScore(**score) for name, score in part["rows"].items()}
    made = make()
    if shown is not None:
        _show(path.with_suffix(".png"), shown, made)
    rows = {name: score for name, (score, _) in made.items()}
    plain = {name: dataclasses.asdict(score) for name, score in rows.items()}
    write_json(path, {"asked": asked, "rows": plain})
    return rows


def _show(path: Path, case: Case, made: Mapping[str, Scored]) -> None:
    """Draws a line for each clip: the photo, then frames of the clip."""
    photo = to_uint8(fit_reference(case.photo, SIDE_PX, SIDE_PX))
    frames = spread(NUM_FRAMES, _NUM_TILES - 1)
    lines = [torch.cat((photo, clip[frames])) for _, clip in made.values()]
    labels = [f"{name}: {score.facesim:.3f}" for name, (score, _) in made.items()]
    labels[0] += f"  {case.scene.caption}"
    options = {"num_columns": _NUM_TILES, "tile_height": SIDE_PX}
    contact_sheet(path, lines, labels=labels, **options)


def _asked(case: Case, shot: Shot | None = None) -> dict[str, Any]:
    """All that decides what a person's scores are, as plain values for JSON."""
    photo = hashlib.sha256(case.photo.numpy()).hexdigest()
    asked = {"photo": photo, "caption": case.scene.caption}
    return asked | ({} if shot is None else {"shot": dataclasses.asdict(shot)})


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _warm_up(pipeline: Pipeline, case: Case, shot: Shot) -> None:
    """Runs one step before times are taken, since the first run of a network is slower."""
    context = MiniatureText().encode(case.scene.caption)
    pipeline.many([case.photo], context[None], replace(shot, num_steps=1), [0])
