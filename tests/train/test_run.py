"""`python -m stdrc_core.train CONFIG.yaml`: a whole run as a user types it."""

from __future__ import annotations

import shlex
import signal
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from helpers import commands, drawn_faces, mini_run
from helpers.json_lines import read_json_lines
from helpers.one_sentence import refused
from helpers.recipes import train_here
from PIL import Image

from stdrc_core.train.__main__ import main
from stdrc_core.train.run import make_accelerator


@pytest.fixture
def recipe(tmp_path: Path, mini_checkpoint: Path, mini_cache: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(mini_run.config(tmp_path / "run", mini_checkpoint, mini_cache).to_yaml())
    return path


def test_a_run_ends_with_weights_and_says_how_to_load_them(
    recipe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    said = commands.train(recipe, "--set", "run.num_steps=1")
    weights = tmp_path / "run" / "stdrc_lora.safetensors"
    assert weights.is_file()
    assert str(weights) in said
    assert "LoraLoaderModelOnly" in said
    assert str(tmp_path / "run" / "checkpoints" / "step_00000001") in said
    assert (tmp_path / "run" / "config.yaml").is_file()
    main(["run", str(recipe), "--set", "run.num_steps=2"])
    assert "going on at step 1" in caplog.text


def test_a_stopped_run_tells_how_to_go_on_and_to_have_its_weights(recipe: Path, tmp_path: Path):
    run = tmp_path / "run"
    words = ("-m", "stdrc_core.train", recipe, "--set", "run.num_steps=100000")
    with commands.start(*words) as process:
        give_up_at = time.monotonic() + 120
        while not (run / "log.jsonl").exists() and time.monotonic() < give_up_at:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    (checkpoint,) = (run / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step_"))
    assert step == read_json_lines(run / "log.jsonl")[-1]["step"] + 1
    assert f"stopped after {step} of 100000 steps, with {checkpoint}" in said
    assert "same command goes on" in said
    assert not list(run.glob("*.safetensors"))
    _, told = said.strip().split("python -m stdrc_core.train ")
    main(shlex.split(told))
    assert (run / f"stdrc_lora_{checkpoint.name}.safetensors").is_file()


def test_a_run_that_diverges_is_one_sentence_and_exit_status_3(
    recipe: Path, capsys: pytest.CaptureFixture[str]
):
    """The options come first, which are the recipe's all the same."""
    words = ["--set", "optimizer.lr=1e30", "--set", "run.num_steps=9", recipe]
    said = refused(capsys, main, words, "python -m stdrc_core.train run", status=3)
    assert said.startswith("the ")
    assert "lower optimizer.lr" in said


def test_processes_wait_for_the_one_that_validates(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    """Two processes (DDP) by the command, and one: the clips and their lines are the same."""
    photo = drawn_faces.write_photo(tmp_path / "photo.png", drawn_faces.RED)
    validation = {
        "every": 1,
        "num_steps": 1,
        "text_encoder": "miniature",
        "items": [{"prompt": "a man", "photo": photo}],
    }
    sheets = []
    for name, num_processes in (("two", 2), ("one", 1)):
        config = mini_run.config(
            tmp_path / name,
            mini_checkpoint,
            mini_cache,
            validation=validation,
            run={"micro_batch_size": 1},
        )
        recipe = tmp_path / f"{name}.yaml"
        if num_processes == 1:
            out = train_here(config, recipe)
        else:
            recipe.write_text(config.to_yaml())
            said = commands.train(recipe, num_processes=num_processes)
            out = config.run.out
            assert said.count(str(out / "stdrc_lora.safetensors")) == 1
        assert [line["step"] for line in read_json_lines(out / "validation.jsonl")] == [1, 2]
        with Image.open(out / "validation" / "step_00000002" / "sheet.png") as sheet:
            sheets.append(np.asarray(sheet, dtype=float))
    assert np.abs(sheets[0] - sheets[1]).mean() < 0.5
    accelerator = make_accelerator(config)
    assert accelerator.init_handler.timeout > timedelta(hours=1)
