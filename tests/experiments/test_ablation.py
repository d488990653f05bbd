"""The ablation: its order, its recipes, and a tiny run of it all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_build import FEW, measure

from stdrc_core.experiments.ablation import paper_order
from stdrc_core.experiments.ablation_section import COPY, PORTRAIT
from stdrc_core.experiments.rows import (
    AGAINST_COPYING,
    PAPER_ROWS,
    ROWS,
    TRAINED,
    step_changes,
)
from stdrc_core.experiments.world import KINDS, World, matrices, summaries
from stdrc_core.mini_build.build import RECIPES
from stdrc_core.train.config import load_config

pytestmark = pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")


def scored(facesim: list[float], leak: list[float]) -> dict[str, dict[str, list[float]]]:
    own = {"facesim": facesim, "leak": leak}
    rest = {name: [0.5] * len(facesim) for name in ("second", "tic", "caption")}
    return {kind: own | rest for kind in KINDS}


def test_what_leaks_is_taken_off_each_clip():
    own = matrices([scored([0.4, 0.8], [0.5, 0.0]), scored([0.6, 0.2], [0.0, 1.0])])[COPY]
    assert own["without_leak"].tolist() == [[0.2, 0.8], [0.6, 0.0]]
    # The mean of products is not the product of means: 0.4, not 0.5 x 0.625.
    summary = summaries({COPY: own})[COPY]["without_leak"]
    assert summary["mean"] == pytest.approx(0.4)


def test_portraits_are_judged_by_facesim_and_copies_without_the_leak():
    """A row that copies looks better by FaceSim, and is worse without what it copied."""
    values = {}
    for i, row in enumerate(PAPER_ROWS):
        shift, leak = 0.1 * i, (0.9 if i == 1 else 0.0)
        values[row.name] = matrices([scored([0.19 + shift, 0.2 + shift, 0.21 + shift], [leak] * 3)])
    by_kind = {kind: paper_order(values, kind) for kind in KINDS}
    assert [step["verdict"] for step in by_kind[PORTRAIT]] == ["as in the paper"] * 5
    first, second, *_ = by_kind[COPY]
    assert first["verdict"] == "the other way"
    assert first["leak"]["direction"] == "above"
    assert (second["verdict"], second["leak"]["direction"]) == ("as in the paper", "below")
    assert second["facesim"]["mean"] == pytest.approx(0.1)


def test_the_rows_are_the_papers_and_train_alike():
    assert {row.name for row in PAPER_ROWS} >= set(AGAINST_COPYING)
    identity, decoupled = PAPER_ROWS[-2:]
    assert identity.recipe == decoupled.recipe
    assert decoupled.reference_scale > identity.reference_scale == identity.text_scale
    configs = [load_config(RECIPES / f"{name}.yaml") for name in TRAINED]
    assert len({(c.run.num_steps, c.run.batch_size, c.optimizer.lr) for c in configs}) == 1


def test_a_shorter_training_decays_over_the_same_share():
    changes = step_changes("mini_tass", 150)
    config = load_config(RECIPES / "mini_tass.yaml", [f"{k}={v}" for k, v in changes.items()])
    whole = load_config(RECIPES / "mini_tass.yaml")
    assert config.run.num_steps == 150
    assert config.optimizer.num_decay_steps / 150 == pytest.approx(
        whole.optimizer.num_decay_steps / whole.run.num_steps, abs=0.01
    )
    assert step_changes("mini_tass", None) == step_changes("mini_tass", 1500) == {}


def test_a_tiny_ablation_trains_scores_and_keeps(build: Path, out: Path):
    numbers = measure(build, out, "ablation")["ablation"]
    results = numbers["results"]
    assert list(results["rows"]) == [
        *(row.name for row in ROWS),
        *("true clips", "true clips through the VAE"),
    ]
    true = results["rows"]["true clips"]
    assert true[PORTRAIT]["facesim"]["mean"] > 0.7
    assert true[PORTRAIT]["facesim"] == true[COPY]["facesim"]
    base = results["rows"]["base, without reference"]
    # Without a reference, photos change nothing but what may leak of them.
    assert base[PORTRAIT]["facesim"] == base[COPY]["facesim"]
    trained = sorted(path.name for path in (out / "trained").glob("*_0"))
    assert trained == sorted(f"{name}_0" for name in TRAINED)
    # The tiny build has three clips, of a person each.
    assert results["clips"] == FEW["num-copies"] == 2
    page = (out / "miniature.md").read_text(encoding="utf-8")
    assert "for 2 steps" in page and "| + identity losses |" in page
    weights = {path: path.stat().st_mtime_ns for path in out.glob("trained/*/weights.safetensors")}
    pieces = {path: path.stat().st_mtime_ns for path in out.glob("kept/*/*.json")}
    assert len(weights) == 4 and len(pieces) == len(ROWS) + 1

    # More persons are sampled of the weights that are there.
    measure(build, out, "ablation", num_persons=3)
    assert all(path.stat().st_mtime_ns == time for path, time in weights.items())
    assert all(path.stat().st_mtime_ns != time for path, time in pieces.items())


def test_what_needs_no_training_is_measured_once(build: Path, out: Path):
    """The part `shipped` has measured base, shipped and true clips when the ablation comes."""
    shipped = measure(build, out, "shipped")["shipped"]
    assert list(shipped["results"]["rows"]) == [
        *("base, without reference", "the shipped miniature"),
        *("true clips", "true clips through the VAE"),
    ]
    assert (out / "pictures" / "miniature.jpg").is_file()
    times = {path: path.stat().st_mtime_ns for path in out.glob("kept/shipped/*.json")}
    assert len(times) == 3
    ablation = measure(build, out, "ablation")["ablation"]
    assert {path: path.stat().st_mtime_ns for path in out.glob("kept/shipped/*.json")} == times
    for name, row in shipped["results"]["rows"].items():
        assert ablation["results"]["rows"][name] == row


def test_more_copies_than_clips_are_refused_before_anything_is_measured(
    build: Path, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(World, "row", lambda *_: pytest.fail("was measured"))
    assert FEW["num-copies"] < 9
    with pytest.raises(SystemExit):
        measure(build, out, "shipped", "ablation", num_copies=9)
    assert "num-copies was 9, but" in capsys.readouterr().err


def test_scores_of_no_tic_stay_unknown():
    own = scored([0.4, 0.8], [0.0, 0.0])
    own[PORTRAIT] = own[PORTRAIT] | {"tic": [None, 0.5]}
    tic = matrices([own])[PORTRAIT]["tic"]
    assert np.isnan(tic[0, 0]) and tic[0, 1] == 0.5
