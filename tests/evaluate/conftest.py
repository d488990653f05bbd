"""Drawn persons with two clips each, and the command run on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.drawn_persons import DrawnPersons, Evaluate, draw_persons
from helpers.evaluation_weights import write_weights

from stdrc_core.evaluate.__main__ import main

NUM_PERSONS = 6


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> DrawnPersons:
    return draw_persons(tmp_path_factory.mktemp("persons"), NUM_PERSONS)


@pytest.fixture(scope="session")
def evaluated(world: DrawnPersons, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All clips by FaceSim-Arc and temporal identity; where the results are."""
    out = tmp_path_factory.mktemp("evaluated")
    main(world.arguments(out))
    return out


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the published formats."""
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def evaluate(world: DrawnPersons, tmp_path: Path) -> Evaluate:
    """Runs the command on some pairs (all by default) and returns metrics.json."""

    def run(pairs: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
        out = changes.pop("out", tmp_path / "out")
        if pairs is not None:
            changes["pairs"] = world.write_pairs(tmp_path / "some.jsonl", pairs)
        main(world.arguments(out, **changes))
        return json.loads((out / "metrics.json").read_text())

    return run
