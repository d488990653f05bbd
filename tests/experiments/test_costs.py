"""What guidance costs: pairs, ratios, and small runs of `guidance` and `one-pass`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_build import measure

from stdrc_core.experiments import guidance, one_pass
from stdrc_core.experiments.costs import EXACT, Setting, Times, compare
from stdrc_core.experiments.one_pass import STUDENT, VYR
from stdrc_core.method.guidance_options import PRESETS


def scores(facesim: list[list[float]], caption: list[list[float]]) -> dict[str, np.ndarray]:
    return {"facesim": np.array(facesim), "caption": np.array(caption)}


def test_losses_are_of_pairs_and_times_of_the_same_batch():
    exact = scores([[0.5, 0.1, 0.9]], [[1.0, 1.0, 1.0]])
    setting = scores([[0.4, 0.1, 0.7]], [[0.5, 1.0, 0.75]])
    times = {
        name: [Times(transformer_s=own, clip_s=own + 2) for own in taken]
        for name, taken in ((EXACT, [2, 4, 8]), ("half", [1, 1, 8]))
    }
    results = compare({EXACT: exact, "half": setting}, times)
    half = results["half"]
    # 1/2, 1/4 and 1; 0.1, 0 and 0.2.
    assert half["time"] == 0.5
    assert half["clip_time"] == 3 / 4
    assert half["facesim_lost"]["mean"] == pytest.approx(0.1)
    assert half["facesim_lost"]["standard_error"] == pytest.approx(0.1 / 3**0.5)
    assert half["caption_lost"]["mean"] == pytest.approx(0.25)
    assert half["facesim"]["mean"] == pytest.approx(0.4)
    assert (results[EXACT]["time"], results[EXACT]["facesim_lost"]["mean"]) == (1, 0)


def test_seeds_of_one_person_are_one_person():
    exact = scores([[0.5, 0.5], [0.5, 0.5]], [[1.0, 1.0], [1.0, 1.0]])
    setting = scores([[0.4, 0.2], [0.2, 0.0]], [[1.0, 1.0], [1.0, 1.0]])
    times = {name: [Times(transformer_s=1, clip_s=1)] * 2 for name in (EXACT, "a")}
    lost = compare({EXACT: exact, "a": setting}, times)["a"]["facesim_lost"]
    # Persons lose 0.2 and 0.4.
    assert (lost["mean"], lost["standard_error"]) == (pytest.approx(0.3), pytest.approx(0.1))


def test_every_preset_is_among_the_settings():
    presets = [dict(preset) for name, preset in PRESETS.items() if name != "one-pass"]
    changes = [dict(each.changes) for each in guidance.settings().values()]
    assert all(preset in changes for preset in presets)
    assert next(iter(guidance.settings())) == EXACT


def test_guidance_measures_its_settings(build: Path, out: Path, monkeypatch: pytest.MonkeyPatch):
    few = {
        EXACT: Setting(family="exact", changes={}),
        "every 2": Setting(family="reference_every", changes={"reference_every": 2}),
        "every 8": Setting(family="reference_every", changes={"reference_every": 8}),
        "fast": Setting(family="presets", changes=dict(PRESETS["fast"])),
    }
    monkeypatch.setattr(guidance, "settings", lambda: few)
    results = measure(build, out, "guidance")["guidance"]["results"]["settings"]
    assert list(results) == list(few)
    assert all(result["time"] > 0 for result in results.values())
    # Of two steps the second keeps the first one's direction, however long it may.
    assert results["every 2"]["facesim_lost"] == results["every 8"]["facesim_lost"]
    assert (out / "pictures" / "guidance.png").stat().st_size > 10_000


def test_a_student_that_has_not_moved_is_vyr(
    build: Path, out: Path, monkeypatch: pytest.MonkeyPatch
):
    few = {name: one_pass.settings()[name] for name in (EXACT, STUDENT, VYR)}
    monkeypatch.setattr(one_pass, "settings", lambda: few)
    results = measure(build, out, "one-pass")["one-pass"]["results"]
    own, vyr = (results["settings"][name] for name in (STUDENT, VYR))
    assert own["facesim"]["mean"] == pytest.approx(vyr["facesim"]["mean"], abs=1e-3)
    assert results["gained"]["facesim"]["mean"] == pytest.approx(0, abs=1e-3)
    assert results["bars"]["above_vyr"] is False
    assert own["family"] != vyr["family"]
