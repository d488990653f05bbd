"""A passer-by beside the person: the score stays as published, and every report says who was there.

Persons are squares of a colour in clips and photos on disk; a face is as large as its square.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.clips import encode
from helpers.found_faces import embedded_face
from PIL import Image
from torch import Tensor

from stdrc_core.evaluate.face_scans import FaceScans
from stdrc_core.evaluate.facesim_arc import FaceSimArc
from stdrc_core.evaluate.metric import Clip, Score
from stdrc_core.evaluate.page import render_page
from stdrc_core.evaluate.report import markdown, write_report
from stdrc_core.evaluate.results import Result, Store
from stdrc_core.evaluate.summary import Summary, summarise
from stdrc_core.faces.finder import EmbeddedFace
from stdrc_core.faces.gallery import GalleryRule
from stdrc_core.faces.likeness import measure_likeness
from stdrc_core.faces.others import Others, count_others
from stdrc_core.faces.plot import plot_likeness
from stdrc_core.generate.results import _likeness
from stdrc_core.video import read_clip, stream_frames

# Persons: colour -> embedding. Blue is a little like red.
PERSONS = {"red": (1.0, 0.0), "green": (0.0, 1.0), "blue": (0.5, 0.75**0.5)}
LEVELS = {"red": (230, 30, 30), "green": (30, 230, 30), "blue": (30, 30, 230)}
SIDE, NUM_FRAMES = 96, 9
E_REF = torch.tensor(PERSONS["red"])


class Squares:
    """Finds squares of the persons' colours."""

    name = "squares"

    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
        return [tuple(self._faces(frame)) for frame in frames]

    def _faces(self, frame: Tensor) -> list[EmbeddedFace]:
        found = []
        for name, color in LEVELS.items():
            mask = (frame.int() - torch.tensor(color)).abs().amax(dim=-1) < 60
            rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
            if len(rows) > 4:
                box = [float(each) for each in (columns[0], rows[0], columns[-1], rows[-1])]
                found.append(embedded_face(PERSONS[name], box))
        return found


def frame(people: dict[str, int]) -> Tensor:
    """A frame with a square of each person, by the length of its side."""
    pixels = torch.full((SIDE, SIDE, 3), 128, dtype=torch.uint8)
    left = 4
    for name, side in people.items():
        pixels[8 : 8 + side, left : left + side] = torch.tensor(LEVELS[name], dtype=torch.uint8)
        left += side + 4
    return pixels


NOBODY, ALONE = {}, {"red": 32}
BEHIND, NEARER = {"red": 40, "green": 20}, {"red": 20, "green": 40}
# Frames -> how many have others, and in how many of these another face is nearer to the photo.
CASES = {
    "the person alone": ([ALONE] * 9, 0, 0),
    "a passer-by behind": ([BEHIND] * 9, 9, 0),
    "a passer-by nearer to the camera": ([NEARER] * 9, 9, 9),
    "a passer-by who comes and goes": ([ALONE] * 3 + [NEARER] * 2 + [ALONE] * 4, 2, 2),
    "first behind, then nearer": ([BEHIND] * 4 + [NEARER] * 5, 9, 5),
    "two others, one of them alike": ([{"red": 16, "blue": 20, "green": 32}] * 9, 9, 9),
    "nobody of them is the person": ([{"green": 40, "blue": 20}] * 9, 9, 9),
    "the largest is the most alike of strangers": ([{"blue": 40, "green": 20}] * 9, 9, 0),
    "frames without a face between": ([NEARER, NOBODY, ALONE] * 3, 3, 3),
    "nobody at all": ([NOBODY] * 9, 0, 0),
    "a stranger alone": ([{"green": 40}] * 9, 0, 0),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Others, list[float | None]]:
    """A clip on disk, what has to be said of it, and the largest faces' cosines."""
    people, num_frames, num_nearer = CASES[request.param]
    path = encode(tmp_path / "clip.mp4", torch.stack([frame(each) for each in people]))
    scored = [PERSONS[max(each, key=each.get)][0] if each else None for each in people]
    told = Others(num_looked_at=NUM_FRAMES, num_frames=num_frames, num_nearer=num_nearer)
    return path, told, scored


def read(path: Path) -> Tensor:
    return read_clip(path, num_frames=NUM_FRAMES, fps=24, height=SIDE, width=SIDE)


def test_the_nodes_report(case: tuple[Path, Others, list[float | None]]):
    path, told, scored = case
    likeness = measure_likeness(read(path), E_REF, Squares(), indices=range(NUM_FRAMES))
    assert likeness.others == told
    assert [each.cosine for each in likeness.frames] == scored, "scored as published"
    report = json.loads(json.dumps(likeness.report()))
    assert report["num_with_others"] == told.num_frames
    assert report["num_other_nearer"] == told.num_nearer
    num_others = sum(bool(each["other_cosines"]) for each in report["frames"])
    assert num_others == told.num_frames


def test_the_command_that_makes_clips(case: tuple[Path, Others, list[float | None]]):
    path, told, scored = case
    (curve,), others = _likeness(read(path), [E_REF], Squares())
    assert others == told and curve == scored
    assert _likeness(read(path), [E_REF, E_REF], Squares())[1] is None, "others are expected"


class _Resources:
    def __init__(self) -> None:
        self.scans, self.num_frames = FaceScans(Squares()), 16
        self.gallery = GalleryRule.MEAN


def score(path: Path, photo: Path) -> Score:
    """`evaluate` on a clip: 16 frames of 9, some of which come twice."""
    clip = Clip(
        name="clip.mp4",
        path=path,
        prompt="a person walks",
        references=(photo,),
        num_frames=NUM_FRAMES,
        fps=24.0,
        height=SIDE,
        width=SIDE,
    )
    watch = FaceSimArc(_Resources()).watch(clip)
    for index, pixels in enumerate(stream_frames(path, range(NUM_FRAMES))):
        watch.see(index, pixels)
    return watch.score()


def test_the_evaluation_counts_each_frame_once(
    case: tuple[Path, Others, list[float | None]], tmp_path: Path
):
    path, told, scored = case
    Image.fromarray(frame(ALONE).numpy()).save(tmp_path / "photo.png")
    found = score(path, tmp_path / "photo.png")
    assert found.others == told
    assert list(found.curve) == [scored[index] for index in found.frames]


def results(tmp_path: Path) -> tuple[Summary, Store]:
    Image.fromarray(frame(ALONE).numpy()).save(tmp_path / "photo.png")
    store = Store(out=tmp_path / "out")
    asked = {"prompt": "a person walks", "video": [1, 2]}
    for name in ("the person alone", "a passer-by who comes and goes", "a passer-by behind"):
        path = encode(tmp_path / "x.mp4", torch.stack([frame(each) for each in CASES[name][0]]))
        result = Result(
            video=f"{name}.mp4",
            asked=asked,
            person="p",
            num_frames=NUM_FRAMES,
            scores={"facesim_arc": score(path, tmp_path / "photo.png")},
        )
        store.write(result)
        assert store.read(result.video) == result, "who was there is kept with the score"
    return _summary(store), store


def _summary(store: Store) -> Summary:
    from stdrc_core.evaluate.pairs import Pair

    names = sorted(path.stem for path in (store.out / "clips").glob("*.json"))
    return summarise(store, [Pair(video=name, person="p") for name in names])


def test_the_reports_and_the_page_say_who_was_there(tmp_path: Path):
    summary, store = results(tmp_path)
    text = markdown(summary)
    nearer = (
        "- a passer-by who comes and goes.mp4: Other people in 2 of 9 frames; in 2 of these "
        "another face is nearer to the photo than the scored one, the largest."
    )
    assert nearer in text
    assert "- a passer-by behind.mp4: Other people in 9 of 9 frames, none nearer" in text
    assert "- the person alone.mp4" not in text
    page = render_page(summary, store)
    for words in ("2 of 9, nearer in 2", "9 of 9", "other people", "no drift", "the largest"):
        assert words in page
    write_report(store.out, summary, store)
    head, *lines = (store.out / "metrics.csv").read_text().splitlines()
    assert head.endswith("problems,with_others,other_nearer,drift,drift_error")
    told = sorted(line.rsplit(",", 4)[1:3] for line in lines)
    assert told == [["0", "0"], ["2", "2"], ["9", "0"]]


def test_results_of_an_earlier_version_are_read(tmp_path: Path):
    store = Store(out=tmp_path)
    old = {"value": 0.5, "frames": [0], "curve": [0.5]}
    path = tmp_path / "clips" / "a.mp4.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"video": "a.mp4", "asked": {}, "scores": {"facesim_arc": old}}))
    result = store.read("a.mp4")
    assert result.others is None and result.scores["facesim_arc"].value == 0.5


def test_the_plot_shows_others_as_rings_and_names_them_beside_the_drift(tmp_path: Path):
    def plotted(name: str) -> Tensor:
        clip = torch.stack([frame(each) for each in CASES[name][0]])
        likeness = measure_likeness(clip, E_REF, Squares(), indices=range(NUM_FRAMES))
        return plot_likeness(likeness)

    alone, crowded = plotted("the person alone"), plotted("a passer-by behind")
    assert alone.shape == crowded.shape
    # The person's curve is the same; rings and words are added.
    assert not torch.equal(alone, crowded)
    assert not torch.equal(crowded, plotted("first behind, then nearer"))


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ((16, 0, 0), ""),
        ((16, 3, 0), "Other people in 3 of 16 frames, none nearer to the photo than"),
        ((16, 3, 2), "Other people in 3 of 16 frames; in 2 of these another face is nearer"),
    ],
)
def test_the_sentence(others: tuple[int, int, int], words: str):
    told = Others(**dict(zip(("num_looked_at", "num_frames", "num_nearer"), others, strict=True)))
    assert told.sentence.startswith(words) and bool(told.sentence) == bool(words)


def test_counting_by_cosines_alone():
    found = count_others([0.5, None, 0.2, 0.9], [[], [], [0.3, 0.1], [0.9]])
    assert found == Others(num_looked_at=4, num_frames=2, num_nearer=1)
