"""Two people in one clip, each like its own photo: the shipped weights on unseen pairs.

FaceSim is measured on each side of the frame alone, with each of the two photos.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..faces.finder import FaceFinder
from ..faces.similarity import (
    PAD_GREY,
    cosines,
    facesim,
    largest_embeddings,
    largest_faces,
    spread,
)
from ..mini_build.duo import Duo, draw_duos
from ..uint8 import to_uint8
from .judgement import difference
from .models import SHOT, round_trip
from .scores import NUM_SCORED_FRAMES, sample_clips
from .sheets import compare_rows
from .tables import DECODED_CLIPS, TRUE_CLIPS, columns_of, matrix, over_persons, summary_of
from .workplace import Part, Workplace

_PICTURE = "two_people.jpg"
# How many pairs of persons, and how many frames of each row, the contact sheet shows.
_SHEET_DUOS, _SHEET_FRAMES = 6, 1


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
assert list(COLUMNS) == [field.name for field in dataclasses.fields(DuoScore)]
WITHOUT, BOTH, SWAPPED = "without references", "both references", "references swapped"
# In each sampled row, the columns that a reference should raise over the row without.
RAISED = {BOTH: ("left_first", "right_second"), SWAPPED: ("left_second", "right_first")}
# Column -> that of the same side with the other photo.
_OTHER = {
    "left_first": "left_second",
    "left_second": "left_first",
    "right_first": "right_second",
    "right_second": "right_first",
}


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that decide the part."""
    own = {"pairs": args.num_pairs, "pairs_seed": args.seed + 3, "steps": args.steps}
    return own | {"seeds": args.num_few_seeds}


def measure(place: Workplace) -> dict[str, Any]:
    """Each row's scores, and what references gain over the row without, in pairs."""
    args = place.args
    duos = draw_duos(args.num_pairs, args.seed + 3)
    shot = replace(SHOT, num_steps=args.steps)
    shots = {WITHOUT: shot.guided(reference_scale=0.0), BOTH: shot, SWAPPED: shot}
    decisive = asked(args) | {"shot": dataclasses.asdict(shot)}

    def sample(name: str, seed: int, chosen: Sequence[Duo]) -> list[Tensor]:
        step = -1 if name == SWAPPED else 1
        wanted = [(duo.photos[::step], duo.caption) for duo in chosen]
        return sample_clips(place.pipeline, wanted, shots[name], seed, name)

    kept: dict[str, list[dict[str, list[float]]]] = {}
    for name in shots:

        def score(seed: int, name: str = name) -> dict[str, list[float | None]]:
            return columns_of(score_clips(sample(name, seed, duos), duos, place.faces), COLUMNS)

        piece = name.replace(" ", "_")
        kept[name] = place.keep_seeds(piece, decisive, args.num_few_seeds, score)
    truth = [duo.true_clip() for duo in duos]
    decoded = round_trip(place.pipeline, truth)
    for name, clips in ((TRUE_CLIPS, truth), (DECODED_CLIPS, decoded)):
        kept[name] = [columns_of(score_clips(clips, duos, place.faces), COLUMNS)]
    shown = duos[:_SHEET_DUOS]
    sampled = {name: sample(name, 0, shown) for name in shots}
    compare_rows(
        place.picture(_PICTURE),
        [duo.photos for duo in shown],
        [duo.caption for duo in shown],
        sampled | {TRUE_CLIPS: truth[:_SHEET_DUOS]},
        num_frames=_SHEET_FRAMES,
    )
    return compare(kept)


def compare(kept: dict[str, list[dict[str, list[float]]]]) -> dict[str, Any]:
    """`rows`, each row's columns over pairs of persons; `gains`, what the columns of `RAISED` gain
    over the row without references; and `own`, how far each of them is above the column of the
    other photo at the same side of the frame. All are in pairs, with their direction.

    `kept` has, for each row and seed, the columns' scores of each pair of persons.
    """
    rows = {name: {column: matrix(own, column) for column in COLUMNS} for name, own in kept.items()}
    means = {
        name: {column: over_persons(values)[None] for column, values in own.items()}
        for name, own in rows.items()
    }
    gains, own = {}, {}
    for name, columns in RAISED.items():
        row, without = means[name], means[WITHOUT]
        gains[name] = {each: difference(without[each], row[each]) for each in columns}
        own[name] = {each: difference(row[_OTHER[each]], row[each]) for each in columns}
    summaries = {
        name: {column: summary_of(values) for column, values in each.items()}
        for name, each in rows.items()
    }
    return {"rows": summaries, "gains": gains, "own": own}


def score_clips(clips: Sequence[Tensor], duos: Sequence[Duo], faces: FaceFinder) -> list[DuoScore]:
    """The score of each clip `[F, h, w, 3]` uint8 against its two persons."""
    scores = []
    for clip, duo in zip(clips, duos, strict=True):
        e_refs = [largest_embeddings(to_uint8(photo), faces)[0] for photo in duo.photos]
        frames = clip[spread(len(clip), NUM_SCORED_FRAMES)]
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
    """Frames `[F, h, w, 3]` uint8 with the right half grey, and the same with the left half grey,
    so that each side's face is found whatever the other side shows."""
    left, right = frames.clone(), frames.clone()
    middle = frames.shape[2] // 2
    left[:, :, middle:] = PAD_GREY
    right[:, :, :middle] = PAD_GREY
    return left, right


PART = Part(name="two-people", asked=asked, measure=measure, pictures=(_PICTURE,))
