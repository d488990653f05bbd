"""From a folder of clips to a LoRA by the commands that users type, identity losses and all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from helpers import commands
from helpers.clips import encode
from helpers.drawn_faces import BLUE, GREEN, RED, SIDE, caption, draw, write_pack, write_photo
from helpers.json_lines import read_json_lines
from safetensors.torch import load_file

NUM_FRAMES = 9


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three persons with a photo each, and a clip that is no video."""
    folder = tmp_path_factory.mktemp("dataset")
    for name, color in (("red", RED), ("green", GREEN), ("blue", BLUE)):
        caption(encode(folder / f"{name}.mp4", draw(NUM_FRAMES + 4, color)))
        write_photo(folder / f"{name}.ref.png", color)
    broken = folder / "broken.mp4"
    broken.write_text("not a video")
    caption(broken)
    return folder


def test_prepare_train_and_export(dataset: Path, mini_checkpoint: Path, tmp_path: Path):
    pack, cache, out = write_pack(tmp_path / "pack"), tmp_path / "cache", tmp_path / "run"
    commands.train(
        *("prepare", "--data", dataset, "--out", cache, "--checkpoint", mini_checkpoint),
        *("--faces", pack, "--text-encoder", "miniature", "--num-frames", NUM_FRAMES),
        *("--height", SIDE, "--width", SIDE),
    )
    report = (cache / "report.jsonl").read_text()
    assert "broken.mp4" in report
    samples = read_json_lines(cache / "samples.jsonl")
    assert len(samples) == 3

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump(
            {
                "model": {"checkpoint": str(mini_checkpoint), "dtype": "float32"},
                "data": {"cache": str(cache)},
                "run": {"out": str(out), "num_steps": 3, "batch_size": 3, "micro_batch_size": 3},
                "objective": {"face_pack": str(pack), "identity_latent_frames": 1},
                "reference": {"p_drop": 0.3},
                "trainable": {"method": "lora", "rank": 4, "alpha": 4},
                "optimizer": {"lr": 1e-3},
            }
        )
    )
    commands.train(recipe)
    entries = read_json_lines(out / "log.jsonl")
    assert [entry["step"] for entry in entries] == [0, 1, 2]
    assert all(entry["identity"] > 0 for entry in entries)
    assert all(entry["total"] > entry["flow"] for entry in entries)
    weights = load_file(out / "stdrc_lora.safetensors")
    moved = [v for k, v in weights.items() if k.endswith("lora_B.weight")]
    assert moved
    assert any(torch.any(value != 0) for value in moved)
