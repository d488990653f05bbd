"""What TensorBoard and W&B hold of a run, read back from their files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import drawn_faces, mini_run
from helpers.clips import coarse
from helpers.json_lines import read_json_lines
from helpers.recipes import train_here
from PIL import Image, ImageSequence

from stdrc_core.video import read_clip


@pytest.fixture
def make_config(mini_checkpoint: Path, mini_cache: Path, tmp_path: Path):
    """Two items, validated after one step."""
    photos = [
        drawn_faces.write_photo(tmp_path / f"{name}.png", color)
        for name, color in (("red", drawn_faces.RED), ("blue", drawn_faces.BLUE))
    ]

    def make(out: Path, **sections):
        values = {
            "every": 1,
            "text_encoder": "miniature",
            "num_steps": 2,
            "items": [{"prompt": "somebody walks", "photo": photo} for photo in photos],
        }
        return mini_run.config(out, mini_checkpoint, mini_cache, validation=values, **sections)

    return make


def encoded(image) -> io.BytesIO:
    return io.BytesIO(image.encoded_image_string)


def test_the_command_validates_and_writes_for_tensorboard(tmp_path: Path, make_config, pack: Path):
    config = make_config(
        tmp_path / "run",
        run={"num_steps": 1},
        objective={"lambda_id": 0, "lambda_tic": 0, "face_pack": pack},
    )
    train_here(config, tmp_path / "recipe.yaml")
    (entry,) = read_json_lines(tmp_path / "run" / "validation.jsonl")
    assert entry["facesim"] is not None
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    told = {"total", "flow", "lr", "tokens_per_s", "peak_memory_gib", "validation/facesim"}
    assert told <= set(events.Tags()["scalars"])
    items = [item["facesim"] for item in entry["items"]]
    for name, value in zip(("", "_00", "_01"), (entry["facesim"], *items), strict=True):
        (score,) = events.Scalars(f"validation/facesim{name}")
        assert (score.step, score.value) == (1, pytest.approx(value))

    folder = tmp_path / "run" / "validation" / "step_00000001"
    (sheet,) = events.Images("validation/sheet")
    with Image.open(folder / "sheet.png") as written, Image.open(encoded(sheet)) as shown:
        assert np.array_equal(np.asarray(written.convert("RGB")), np.asarray(shown))
    for i in range(2):
        size = {"height": mini_run.SIZE_PX, "width": mini_run.SIZE_PX}
        clip = read_clip(folder / f"0{i}.mp4", num_frames=9, fps=mini_run.FPS, **size)
        (gif,) = events.Images(f"validation/clip_0{i}")
        with Image.open(encoded(gif)) as animation:
            # Every second of nine frames, each shown for two frames' time, in GIF's 10 ms.
            frames = [
                np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)
            ]
            assert animation.info["duration"] == pytest.approx(2000 / mini_run.FPS, abs=10)
        assert len(frames) == 5
        # A palette of 256 colours and H.264 are both near the same pixels.
        distance = coarse(torch.tensor(np.stack(frames))) - coarse(clip[::2])
        assert distance.abs().mean() < 6


def test_weights_and_biases_gets_the_same_and_stays_offline(
    tmp_path: Path, make_config, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("wandb", reason="needs `pip install wandb`, an extra of the trainer")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    config = make_config(tmp_path / "run", run={"num_steps": 1, "trackers": ["wandb"]})
    train_here(config, tmp_path / "recipe.yaml")
    assert not (tmp_path / "run" / "tensorboard").exists()
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    # Names and values lie in the file as they are.
    told = file.read_bytes()
    (step,) = read_json_lines(tmp_path / "run" / "log.jsonl")
    for key in ("total", "tokens_per_s", "peak_memory_gib"):
        assert key.encode() in told
        assert json.dumps(step[key]).encode() in told
    assert b"validation/clip_01" in told
    written = tmp_path / "run" / "validation" / "step_00000001"
    for name, kind in (("00.mp4", "videos"), ("01.mp4", "videos"), ("sheet.png", "images")):
        media = [path.read_bytes() for path in (folder / "files" / "media" / kind).rglob("*.*")]
        assert (written / name).read_bytes() in media


def test_a_run_that_fails_leaves_no_tracker_open(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    wandb = pytest.importorskip("wandb", reason="needs `pip install wandb`")
    sections = {
        "run": {"num_steps": 9, "trackers": ["wandb"]},
        "optimizer": {"lr": 1e30},
    }
    config = mini_run.config(tmp_path / "run", mini_checkpoint, mini_cache, **sections)
    with pytest.raises(RuntimeError, match="the loss was"):
        train_here(config, tmp_path / "recipe.yaml")
    assert wandb.run is None
