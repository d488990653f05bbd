"""Likeness over a clip: closed forms, from a finder whose cosines are known."""

from __future__ import annotations

import json
import math

import pytest
import torch
from helpers.found_faces import embedded_face
from torch import Tensor

from stdrc_core.faces.finder import EmbeddedFace
from stdrc_core.faces.likeness import Likeness, measure_likeness, ranking
from stdrc_core.faces.plot import plot_likeness
from stdrc_core.faces.similarity import scored_indices

E_REF = torch.tensor([1.0, 0.0])
NO_FACE = 255


class LevelFinder:
    """The cosine of a plain frame's face with E_REF is its grey level in hundredths."""

    name = "level"

    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
        return [self._faces(int(frame[..., 0].min()), int(frame[0, 0, 0])) for frame in frames]

    def _faces(self, level: int, corner: int) -> tuple[EmbeddedFace, ...]:
        # On grey, a frame without a face still has none.
        if NO_FACE in (level, corner) or corner == 128:
            return ()
        cosine = level / 100
        return (embedded_face([cosine, math.sqrt(1 - cosine**2)], (1, 2, 5, 7), score=0.75),)


def clip_of(*levels: int) -> Tensor:
    return torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 8, 12, 3)


def measure(*levels: int, indices: list[int] | None = None, **options) -> Likeness:
    clip = clip_of(*levels)
    indices = list(range(len(clip))) if indices is None else indices
    return measure_likeness(clip, E_REF, LevelFinder(), indices=indices, **options)


def test_cosines_frame_by_frame():
    likeness = measure(50, NO_FACE, 70, 20)
    assert [frame.index for frame in likeness.frames] == [0, 1, 2, 3]
    cosines = [frame.cosine for frame in likeness.frames]
    assert cosines == pytest.approx([0.5, None, 0.7, 0.2])
    assert likeness.facesim == pytest.approx(1.4 / 3)
    assert (likeness.best.index, likeness.worst.index) == (2, 3)
    assert likeness.frames[1].face is None
    assert len(likeness.with_face) == 3


def test_a_frame_that_is_chosen_twice_counts_twice_and_is_listed_once():
    likeness = measure(40, 90, indices=[0, 0, 0, 1])
    assert [frame.index for frame in likeness.frames] == [0, 1]
    assert likeness.facesim == pytest.approx((3 * 0.4 + 0.9) / 4)


@pytest.mark.parametrize("num_frames", [2, 5, 30])
def test_drift_is_that_of_a_straight_line(num_frames: int):
    """A fall of a hundredth a frame is 1 over 100 frames, whichever frames are looked at."""
    levels = [90 - i for i in range(num_frames)]
    few = measure(*levels, indices=scored_indices(num_frames, 4))
    levels_with_gap = [*levels]
    levels_with_gap[1:2] = [NO_FACE] if num_frames > 2 else [89]
    for likeness in (measure(*levels), few, measure(*levels_with_gap)):
        assert likeness.drift.slope == pytest.approx(-1, abs=1e-5)
        assert likeness.drift.error == (None if num_frames == 2 else pytest.approx(0, abs=1e-5))
        assert likeness.drift.at(num_frames - 1) == pytest.approx(levels[-1] / 100, abs=1e-6)
        report = likeness.report()
        drift = likeness.drift
        assert (report["drift"], report["drift_error"]) == (drift.slope, drift.error)


def test_the_plot_has_the_drifts_line():
    """An orange line through the middle of cosines that go up and down; none for one frame."""

    def share(likeness: Likeness) -> float:
        curve_s_part = plot_likeness(likeness).int()[120:410, 100:900]
        is_orange = (curve_s_part - torch.tensor([214, 160, 92])).abs().amax(dim=-1) < 40
        return float(is_orange.any(dim=0).float().mean())

    assert share(measure(*[90, 30] * 20)) > 0.3
    assert share(measure(60)) == 0


def test_tic_is_the_cosine_with_the_mean_face():
    """Two faces at angles a and b to the photo's: each is (a - b) / 2 from their mean."""
    a, b = math.acos(0.9), math.acos(0.3)
    likeness = measure(90, 30, NO_FACE)
    assert likeness.tic == pytest.approx(math.cos((a - b) / 2), abs=1e-5)
    assert measure(60, 60, 60).tic == pytest.approx(1, abs=1e-5)


def test_no_face_at_all_and_one_face():
    nobody = measure(NO_FACE, NO_FACE)
    assert nobody.facesim == 0.0
    assert (nobody.drift, nobody.tic, nobody.best, nobody.worst) == (None,) * 4
    one = measure(NO_FACE, 40)
    assert one.drift is None
    assert one.facesim == pytest.approx(0.4)
    for likeness in (nobody, one):
        json.dumps(likeness.report(), allow_nan=False)


def test_the_report_is_plain_values():
    report = json.loads(json.dumps(measure(50, NO_FACE, 70).report(), allow_nan=False))
    assert report["similarity"] == pytest.approx(0.6)
    assert (report["num_frames"], report["num_scored"], report["num_without_face"]) == (3, 3, 1)
    assert (report["best_frame"], report["worst_frame"]) == (2, 0)
    assert report["frames"][1] == {
        "frame": 1,
        "cosine": None,
        "box": None,
        "detection_score": None,
        "other_cosines": [],
    }
    assert report["frames"][2]["box"] == [1, 2, 5, 7]
    assert report["frames"][2]["detection_score"] == 0.75


def test_progress_adds_up_and_may_stop():
    told: list[int] = []
    measure(*[50] * 21, on_frames=told.append)
    assert sum(told) == 21
    assert len(told) > 1

    class StopHere(BaseException):
        pass

    def stop(num_frames: int) -> None:
        raise StopHere

    with pytest.raises(StopHere):
        measure(*[50] * 21, on_frames=stop)


def test_floats_and_alpha_are_the_same_frames():
    clip = clip_of(50, 70, 20)
    alpha = torch.zeros(3, 8, 12, 1)
    given = torch.cat((clip.float() / 255, alpha), dim=-1)
    likeness = measure_likeness(given, E_REF, LevelFinder(), indices=[0, 1, 2])
    assert likeness.facesim == pytest.approx(1.4 / 3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, r"^images hold values from nan to nan; needs finite"),
        (math.inf, r"^images hold values from .* to inf; needs finite"),
        (200.0, r"^images hold values from .* to 200; .*divide 8-bit"),
    ],
)
def test_frames_that_are_no_pictures_are_one_sentence(value: float, message: str):
    clip = clip_of(50, 50).float() / 255
    clip = clip.clone()
    clip[1, 3, 3, 1] = value
    with pytest.raises(ValueError, match=message):
        measure_likeness(clip, E_REF, LevelFinder(), indices=[0, 1])


def test_which_frames_are_scored():
    assert scored_indices(33, 16) == [0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 32]
    assert scored_indices(3, 5) == [0, 0, 1, 1, 2]
    assert scored_indices(4, 0) == [0, 1, 2, 3]
    assert scored_indices(1, 16) == [0] * 16


def test_ranking_is_from_the_best_and_keeps_the_order_of_equals():
    assert ranking([0.2, 0.9, 0.9, -0.1, 0.5]) == [1, 2, 4, 0, 3]
    assert ranking([0.0]) == [0]
