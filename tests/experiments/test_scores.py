"""The ablation's scores, on clips whose truth is known: drawn ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stdrc_core.experiments.reader import CaptionReader
from stdrc_core.experiments.scores import COLUMNS, Case, Score, draw_cases, score_clips
from stdrc_core.experiments.tables import summary, table
from stdrc_core.faces.finder import open_face_pack
from stdrc_core.mini.character import is_unseen
from stdrc_core.mini.drawing import draw_clip
from stdrc_core.mini.photo import unseen_photo
from stdrc_core.mini.scene import ATTRIBUTES
from stdrc_core.mini.shipped import FACES


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return draw_cases(6, seed=3)


def mean(scores: list[Score], column: str) -> float:
    return float(np.mean([getattr(score, column) for score in scores]))


def test_a_photo_shares_nothing_with_its_scene_but_the_person(cases: list[Case]):
    for case in cases:
        assert all(
            getattr(case.photo_scene, name) != getattr(case.scene, name) for name in ATTRIBUTES
        )


def test_true_clips_score_high_and_those_of_others_low(cases: list[Case], reader: CaptionReader):
    faces = open_face_pack(FACES)
    truth = [case.true_clip() for case in cases]
    true_scores = score_clips(truth, cases, faces, reader)
    assert mean(true_scores, "facesim") > 0.7
    assert mean(true_scores, "tic") > 0.9
    # Clips of other people score as strangers, and do not do what was asked.
    wrong = score_clips(truth[1:] + truth[:1], cases, faces, reader)
    assert mean(wrong, "facesim") < 0.35
    assert mean(wrong, "caption") < mean(true_scores, "caption") - 0.2


def test_a_clip_that_copies_the_photos_scene_leaks(cases: list[Case], reader: CaptionReader):
    faces = open_face_pack(FACES)
    copied = [torch.from_numpy(draw_clip(case.person, case.photo_scene).pixels) for case in cases]
    honest = [case.true_clip() for case in cases]
    leak = mean(score_clips(copied, cases, faces, reader), "leak")
    assert leak > 0.6
    assert mean(score_clips(honest, cases, faces, reader), "leak") < leak - 0.4


def test_no_face_is_no_facesim_and_no_tic(cases: list[Case], reader: CaptionReader):
    flat = torch.full((17, 128, 128, 3), 90, dtype=torch.uint8)
    (score,) = score_clips([flat], cases[:1], open_face_pack(FACES), reader)
    assert score.facesim == 0
    assert score.tic is None


def test_the_standard_error_is_over_persons_and_none_is_left_out():
    def score(facesim: float, tic: float | None) -> Score:
        return Score(facesim=facesim, tic=tic, leak=0.5, caption=1.0)

    seeds = [[score(0.2, None), score(0.6, 0.9)], [score(0.4, None), score(0.8, 0.7)]]
    result = summary(seeds)
    # Persons' means over seeds: 0.3 and 0.7.
    assert result["facesim"]["mean"] == pytest.approx(0.5)
    assert result["facesim"]["standard_error"] == pytest.approx(0.2)
    assert result["tic"]["mean"] == pytest.approx(0.8)
    lines = table({"a row": summary([[score(0.2, 0.9), score(0.4, 0.5)]])}).splitlines()
    assert lines[0].count("|") == len(COLUMNS) + 2
    assert lines[2].startswith("| a row | 0.300 ± 0.100 | 0.700 ± 0.200 |")


def test_the_commands_photos_are_of_persons_that_nobody_trained_on():
    assert (unseen_photo(1) == unseen_photo(1)).all()
    assert (unseen_photo(1) != unseen_photo(2)).any()
    assert all(is_unseen(n) for n in _numbers(20))


def _numbers(count: int) -> list[int]:
    import random

    from stdrc_core.mini.character import draw_numbers

    return [draw_numbers(1, random.Random(seed), unseen=True)[0] for seed in range(count)]
