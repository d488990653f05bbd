"""`python -m stdrc_core.train CONFIG.yaml`: a whole run as a user types it."""

from __future__ import annotations

import os
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
from stdrc_core.train.config import load_config
from stdrc_core.train.processes import PATIENCE
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


def test_two_processes_share_the_items_of_a_validation(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    """Two processes (DDP) by the command, and one: the clips and their lines are the same."""
    photo = drawn_faces.write_photo(tmp_path / "photo.png", drawn_faces.RED)
    items = [{"prompt": f"a man {does}", "photo": photo} for does in ("walks", "runs", "sits")]
    validation = {"every": 1, "num_steps": 1, "text_encoder": "miniature", "items": items}
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
        rows = [line["items"] for line in read_json_lines(out / "validation.jsonl")]
        assert [[row["prompt"] for row in each] for each in rows] == [
            [item["prompt"] for item in items]
        ] * 2
    assert np.abs(sheets[0] - sheets[1]).mean() < 0.5


def test_a_step_is_given_up_long_before_a_wait_for_one_process(recipe: Path):
    accelerator = make_accelerator(load_config(recipe))
    assert accelerator.init_handler.timeout <= timedelta(hours=1)
    assert timedelta(hours=6) <= PATIENCE


def test_exit_statuses_of_torchrun_are_the_documented_ones(recipe: Path, tmp_path: Path):
    """Told to stop, it waits for the checkpoint, and says 1 all the same."""
    words = ("-m", "stdrc_core.train", recipe, "--set", "run.num_steps=100000")
    run = tmp_path / "run"
    with commands.start(*words, num_processes=2) as process:
        give_up_at = time.monotonic() + 240
        while not (run / "log.jsonl").exists() and time.monotonic() < give_up_at:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=240)
    assert process.returncode == 1, said
    assert len(list((run / "checkpoints").iterdir())) == 1
    assert "SIGTERM" in said
    # A process that is told by itself takes the others with it, and the launcher ends as they do.
    with commands.start(*words, num_processes=2) as process:
        num_lines = len(read_json_lines(run / "log.jsonl"))
        give_up_at = time.monotonic() + 240
        while (
            len(read_json_lines(run / "log.jsonl")) == num_lines and time.monotonic() < give_up_at
        ):
            time.sleep(0.1)
        os.kill(_children(process.pid)[1], signal.SIGTERM)
        _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert "stopped after" in said
    diverges = (*words, "--set", "optimizer.lr=1e30")
    said = commands.run(*diverges, num_processes=2, status=1).stderr
    assert "exitcode  : 3" in said


def _children(pid: int) -> list[int]:
    """The processes that a process has started, oldest first."""
    return [
        int(child)
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if b"stdrc_core.train" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
