"""`--compare`: paired differences against scipy's bootstrap, and what is not compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.drawn_persons import DrawnPersons, Evaluate
from scipy import stats

from stdrc_core.evaluate.__main__ import main
from stdrc_core.evaluate.compare import compare
from stdrc_core.evaluate.comparison import paired_difference


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_interval_is_scipys_within_its_noise():
    rng = np.random.default_rng(0)
    a = rng.normal(0.5, 0.2, 60)
    b = a + rng.normal(0.03, 0.1, 60)
    found = paired_difference(a, b, [str(i) for i in range(60)], generator())
    expected = stats.bootstrap(
        ((b - a),), np.mean, n_resamples=20_000, method="percentile", rng=rng
    ).confidence_interval
    assert found.difference == pytest.approx((b - a).mean())
    assert found.low == pytest.approx(expected.low, abs=1.5e-3)
    assert found.high == pytest.approx(expected.high, abs=1.5e-3)
    assert found.share_b_higher == pytest.approx(np.mean(b > a))


def test_clips_of_one_person_are_not_counted_as_independent():
    """Five copies of each clip tell nothing new: the interval stays what it was."""
    rng = np.random.default_rng(1)
    differences = rng.normal(0, 0.1, 40)
    zeros, persons = np.zeros(40), [str(i) for i in range(40)]
    once = paired_difference(zeros, differences, persons, generator())
    copied = np.repeat(differences, 5)
    five = paired_difference(np.zeros(200), copied, np.repeat(persons, 5).tolist(), generator())
    naive = paired_difference(np.zeros(200), copied, [str(i) for i in range(200)], generator())
    assert (five.low, five.high) == pytest.approx((once.low, once.high))
    assert naive.high - naive.low < (once.high - once.low) / 2
    assert (five.num_clips, five.num_persons) == (200, 40)


def test_the_same_seed_gives_the_same_interval_and_a_constant_gives_a_point():
    values = [0.1, 0.5, 0.2, 0.9]
    first, again = (
        paired_difference(values, values[::-1], list("abcd"), generator()) for _ in "12"
    )
    assert first == again
    shifted = paired_difference(values, [each + 0.25 for each in values], list("abcd"), generator())
    assert (shifted.low, shifted.high) == pytest.approx((0.25, 0.25))
    assert shifted.is_certain
    same = paired_difference(values, values, list("abcd"), generator())
    assert (same.difference, same.share_b_higher, same.is_certain) == (0, 0.5, False)


@pytest.fixture(scope="module")
def strangers(world: DrawnPersons, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same names, prompts and photos with the next person's clips: a system that forgets."""
    folder = tmp_path_factory.mktemp("strangers")
    for i, pair in enumerate(world.pairs[:-2]):
        other = world.pairs[(i + 2) % 12]["video"]
        (folder / pair["video"]).symlink_to(world.folder / other)
    out = tmp_path_factory.mktemp("evaluations") / "forgets"
    pairs = world.write_pairs(folder / "pairs.jsonl", world.pairs[:-2])
    main(world.arguments(out, videos=folder, pairs=pairs))
    return out


def edited(folder: Path, out: Path, change: Any) -> Path:
    """A copy of an evaluation's metrics.json, changed."""
    metrics = json.loads((folder / "metrics.json").read_text())
    change(metrics)
    out.mkdir()
    (out / "metrics.json").write_text(json.dumps(metrics))
    return out


def test_two_evaluations_side_by_side(
    world: DrawnPersons, evaluated: Path, strangers: Path, tmp_path: Path
):
    # Photos are named by their whole path here, so that both files name the same persons.
    whole = tmp_path / "remembers"
    pairs = world.write_pairs(tmp_path / "pairs.jsonl", world.pairs)
    main(world.arguments(whole, pairs=pairs))
    out = tmp_path / "out"
    main(["--compare", str(strangers), str(whole), "--out", str(out)])
    found = json.loads((out / "compare.json").read_text())
    assert (found["a"], found["b"]) == ("forgets", "remembers")
    assert (found["num_common"], found["num_only_a"], found["num_only_b"]) == (10, 0, 2)
    values = [
        {
            r["video"]: {name: score["value"] for name, score in r["scores"].items()}
            for r in json.loads(path.read_text())["results"]
        }
        for path in (strangers / "metrics.json", whole / "metrics.json")
    ]
    for metric in ("facesim_arc", "tic"):
        differences = [values[1][name][metric] - values[0][name][metric] for name in values[0]]
        assert found["metrics"][metric]["difference"] == pytest.approx(np.mean(differences))
    arc = found["metrics"]["facesim_arc"]
    assert arc["num_persons"] == 5
    assert 0.3 < arc["low"] < arc["difference"] < arc["high"]
    assert arc["share_b_higher"] == 1
    # Temporal identity hardly sees the difference: each clip is one person.
    assert abs(found["metrics"]["tic"]["difference"]) < arc["difference"] / 10
    assert f"**{arc['difference']:+.3f}**" in (out / "compare.md").read_text()
    page = (out / "compare.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 6
    assert "http" not in page


def test_other_prompts_are_no_pair(evaluated: Path, tmp_path: Path):
    def change(metrics: dict) -> None:
        metrics["results"][0]["asked"]["prompt"] = "a dog"

    other = edited(evaluated, tmp_path / "other", change)
    with pytest.raises(ValueError, match=r"0_0.mp4 has prompt .* needs evaluations of the same"):
        compare(evaluated, other, tmp_path / "out")


def test_other_numbers_of_photos_are_not_measured_alike(evaluated: Path, tmp_path: Path):
    def several(count: int) -> Callable[[dict], None]:
        def change(metrics: dict) -> None:
            for result in metrics["results"]:
                photo = result["asked"].pop("photo")
                result["asked"] |= {"photos": [photo] * count, "gallery": "mean"}

        return change

    two, four = (edited(evaluated, tmp_path / f"{n}", several(n)) for n in (2, 4))
    found = compare(two, four, tmp_path / "out")
    assert found.metrics.keys() == {"tic"}
    assert "other rules or numbers of photos" in found.left_out["facesim_arc"]
    assert "facesim_arc" in compare(two, two, tmp_path / "again").metrics


def test_a_metric_by_other_weights_is_left_out(evaluated: Path, tmp_path: Path):
    def change(metrics: dict) -> None:
        metrics["settings"]["tic"]["frames"] = 8

    other = edited(evaluated, tmp_path / "other", change)
    found = compare(evaluated, other, tmp_path / "out")
    assert found.metrics.keys() == {"facesim_arc"}
    assert "TIC was not measured alike" in found.left_out["tic"]
    assert "Left out: TIC" in (tmp_path / "out" / "compare.md").read_text()


def test_nothing_in_common_is_an_error(evaluated: Path, tmp_path: Path, evaluate: Evaluate):
    def rename(metrics: dict) -> None:
        for result in metrics["results"]:
            result["video"] = f"other/{result['video']}"

    with pytest.raises(ValueError, match="no video name in common"):
        compare(evaluated, edited(evaluated, tmp_path / "a", rename), tmp_path / "out")

    def forget(metrics: dict) -> None:
        for result in metrics["results"]:
            result["scores"] = {}

    with pytest.raises(ValueError, match="no metric in common"):
        compare(evaluated, edited(evaluated, tmp_path / "b", forget), tmp_path / "out")
    assert not (tmp_path / "out").exists()
