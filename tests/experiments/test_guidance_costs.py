"""`python -m stdrc_core.experiments guidance`: pairs, ratios, and a small run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.distilled_lora import FIXED, write_distilled

from stdrc_core.experiments.__main__ import main
from stdrc_core.experiments.guidance_costs import Times, compare
from stdrc_core.experiments.reader import CaptionReader
from stdrc_core.experiments.scores import Score
from stdrc_core.method.guidance_options import PRESETS
from stdrc_core.mini.shipped import CHECKPOINT


def score(facesim: float, caption: float = 1.0) -> Score:
    return Score(facesim=facesim, tic=None, leak=0.0, caption=caption)


def test_losses_are_of_pairs_and_times_of_the_same_batch():
    exact = [score(0.5), score(0.1), score(0.9)]
    setting = [score(0.4, 0.5), score(0.1, 1.0), score(0.7, 0.75)]
    times = {
        name: [Times(transformer_s=own, clip_s=own + 2) for own in taken]
        for name, taken in (("exact", [2, 4, 8]), ("half", [1, 1, 8]))
    }
    results = compare({"exact": exact, "half": setting}, times)
    half = results["half"]
    # 1/2, 1/4 and 1; 0.1, 0 and 0.2.
    assert half["time"] == 0.5
    assert half["clip_time"] == 3 / 4
    assert half["facesim_lost"]["mean"] == pytest.approx(0.1)
    assert half["facesim_lost"]["standard_error"] == pytest.approx(0.1 / 3**0.5)
    assert half["caption_lost"]["mean"] == pytest.approx(0.25)
    assert half["facesim"]["mean"] == pytest.approx(0.4)
    assert (results["exact"]["time"], results["exact"]["facesim_lost"]["mean"]) == (1, 0)


def test_the_command_measures_every_preset(tmp_path: Path):
    torch.save(CaptionReader().state_dict(), tmp_path / "reader.pt")
    options = {"out": tmp_path, "num-persons": 2, "steps": 2}
    main(["guidance", *(w for k, v in options.items() for w in (f"--{k}", str(v)))])
    results = json.loads((tmp_path / "guidance.json").read_text())
    assert set(PRESETS) <= set(results)
    assert all(result["time"] > 0 for result in results.values())
    # Of two steps the second keeps the first one's direction, however long it may.
    assert results["every 2"]["facesim_lost"] == results["every 8"]["facesim_lost"]
    lines = (tmp_path / "guidance.md").read_text().splitlines()
    assert len(lines) == 2 + len(results)
    assert (tmp_path / "guidance.png").stat().st_size > 10_000


def test_a_student_is_measured_beside_what_it_learned_from(tmp_path: Path):
    """It has not moved from vyr, so that it scores as the base's vyr alone; each seed counts."""
    torch.save(CaptionReader().state_dict(), tmp_path / "reader.pt")
    student = write_distilled(tmp_path / "lora.safetensors", CHECKPOINT, FIXED, moved=0.0)
    options = {"out": tmp_path, "num-persons": 2, "steps": 2, "num-seeds": 2, "distilled": student}
    words = [w for k, v in options.items() for w in (f"--{k}", str(v))]
    main(["guidance", *words, "--only", "distilled", "one-pass"])
    results = json.loads((tmp_path / "guidance.json").read_text())
    assert set(results) == {"exact", "one-pass", "distilled"}
    assert results["distilled"]["facesim"] == results["one-pass"]["facesim"]
    assert results["distilled"]["family"] == "distilled"
    with pytest.raises(SystemExit):
        main(["guidance", *words, "--only", "slow"])
