"""Drawn persons with two clips each, and the command run on them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from stdrc_core.evaluate.__main__ import main
from stdrc_core.mini.character import draw_numbers, identity
from stdrc_core.mini.drawing import FPS, draw_clip, draw_photo
from stdrc_core.mini.scene import CLIP_FREEDOM, draw_scene
from stdrc_core.mini.shipped import FACES
from stdrc_core.video import write_clip

NUM_PERSONS = 6


@dataclass(frozen=True)
class World:
    """`folder` holds the clips `P_0.mp4`, `P_1.mp4` and the photo `P.png` of persons P, pairs in
    `pairs.jsonl`."""

    folder: Path
    pairs: list[dict[str, str]]

    def write_pairs(self, path: Path, pairs: list[dict[str, Any]]) -> Path:
        """Photos by their whole path, since they begin at the pairs file's own folder."""
        whole = [
            {**pair, "reference": str(self.folder / pair["reference"])}
            if "reference" in pair
            else pair
            for pair in pairs
        ]
        path.write_text("".join(json.dumps(pair) + "\n" for pair in whole))
        return path

    def arguments(self, out: Path, **changes: Any) -> list[str]:
        """The command's, for FaceSim-Arc and TIC."""
        options = {
            "videos": self.folder,
            "pairs": self.folder / "pairs.jsonl",
            "faces": FACES,
            "out": out,
            "device": "cpu",
        } | changes
        words: list[str] = []
        for name, value in options.items():
            if value is None:
                continue
            values = value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
        return words


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("persons")
    rng = random.Random(11)
    pairs = []
    for place, number in enumerate(draw_numbers(NUM_PERSONS, rng, unseen=True)):
        person = identity(number)
        photo_scene = draw_scene(rng)
        Image.fromarray(draw_photo(person, photo_scene)).save(folder / f"{place}.png")
        for take in range(2):
            scene = draw_scene(rng, unlike=photo_scene, freedom=CLIP_FREEDOM)
            name = f"{place}_{take}.mp4"
            write_clip(folder / name, torch.from_numpy(draw_clip(person, scene).pixels), FPS)
            pairs.append({"video": name, "prompt": scene.caption, "reference": f"{place}.png"})
    world = World(folder, pairs)
    world.write_pairs(folder / "pairs.jsonl", pairs)
    return world


Evaluate = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def evaluated(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All clips by FaceSim-Arc and TIC; where the results are."""
    out = tmp_path_factory.mktemp("evaluated")
    main(world.arguments(out))
    return out


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the published formats."""
    from evaluate.published import write_weights

    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def evaluate(world: World, tmp_path: Path) -> Evaluate:
    """Runs the command on some pairs (all by default) and returns metrics.json."""

    def run(pairs: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
        out = changes.pop("out", tmp_path / "out")
        if pairs is not None:
            changes["pairs"] = world.write_pairs(tmp_path / "some.jsonl", pairs)
        main(world.arguments(out, **changes))
        return json.loads((out / "metrics.json").read_text())

    return run
