"""Standard errors over persons against scipy, a bootstrap and a run's own scores; tables' cells."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from stdrc_core.evaluate.tables import markdown_table, mean_over_persons, plus_minus

from .conftest import Evaluate, World


def test_clips_of_persons_of_their_own_have_the_usual_error():
    values = np.random.default_rng(0).normal(0.5, 0.2, 40)
    found = mean_over_persons(values, range(40))
    assert found == pytest.approx((values.mean(), stats.sem(values)))


def test_persons_with_equally_many_clips_have_the_error_of_their_means():
    values = np.random.default_rng(1).normal(0.5, 0.2, (12, 4)) + np.linspace(0, 1, 12)[:, None]
    found = mean_over_persons(values.ravel(), np.repeat(np.arange(12), 4).tolist())
    assert found == pytest.approx((values.mean(), stats.sem(values.mean(axis=1))))
    # Copies of clips tell nothing new.
    copied = mean_over_persons(np.tile(values, 3).ravel(), np.repeat(np.arange(12), 12).tolist())
    assert copied == pytest.approx(found)


def test_persons_with_unequally_many_clips_have_the_error_that_resampling_persons_has():
    rng = np.random.default_rng(2)
    persons = np.repeat(np.arange(60), rng.integers(1, 8, 60))
    values = rng.normal(0, 0.1, len(persons)) + rng.normal(0, 0.3, 60)[persons]
    clips = [values[persons == person] for person in range(60)]
    drawn = rng.integers(60, size=(4000, 60))
    means = [np.concatenate([clips[person] for person in row]).mean() for row in drawn]
    order = rng.permutation(len(persons))
    found = mean_over_persons(values[order], [f"p{person}" for person in persons[order]])
    assert found.mean == pytest.approx(values.mean())
    assert found.standard_error == pytest.approx(np.std(means), rel=0.05)
    assert found.standard_error > 1.5 * stats.sem(values)


def test_one_person_has_no_error_and_nobody_has_no_mean():
    mean, error = mean_over_persons([0.25, 0.75], ["a", "a"])
    assert mean == 0.5 and math.isnan(error)
    assert all(map(math.isnan, mean_over_persons([], [])))


def test_an_evaluation_has_errors_over_persons(evaluated: Path):
    """Six persons with two clips each; each photo is a person of its own."""
    summary = json.loads((evaluated / "metrics.json").read_text())
    for name in ("facesim_arc", "tic"):
        scores = {each["video"]: each["scores"][name]["value"] for each in summary["results"]}
        persons = np.array(
            [[scores[f"{person}_{take}.mp4"] for take in "01"] for person in range(6)]
        )
        found = summary["metrics"][name]
        assert found["standard_error"] == pytest.approx(stats.sem(persons.mean(axis=1)))
        assert (found["num_clips"], found["num_persons"]) == (12, 6)
    for report in ("metrics.md", "report.html"):
        text = (evaluated / report).read_text()
        assert "12 clips of 6 persons; mean ± standard error over persons." in text


def test_an_identity_joins_photos_and_clips_without_a_photo_stand_alone(
    world: World, evaluate: Evaluate, tmp_path: Path
):
    pairs = [{**pair, "identity": str(i % 2)} for i, pair in enumerate(world.pairs[:6])]
    found = evaluate(pairs, metrics=["tic"])["metrics"]["tic"]
    assert (found["num_clips"], found["num_persons"]) == (6, 2)
    bare = [{"video": pair["video"]} for pair in world.pairs[:3]]
    found = evaluate(bare, metrics=["tic"], out=tmp_path / "bare")["metrics"]["tic"]
    assert (found["num_clips"], found["num_persons"]) == (3, 3)


def test_cells_and_tables():
    assert plus_minus(0.5, 0.0125) == "0.500 ± 0.013"
    assert plus_minus(0.5, math.nan, 2) == "0.50"
    assert plus_minus(math.nan, math.nan) == ""
    assert markdown_table(["", "a"], [["b", "1"]]) == "|  | a |\n|---|---|\n| b | 1 |\n"
