"""A run that is killed and goes on: what its files tell of each step, they tell once."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from helpers import commands, drawn_faces, mini_run
from helpers.json_lines import read_json_lines
from helpers.recipes import train_here

from stdrc_core.train.checkpoints import CheckpointFolder
from stdrc_core.train.step_lines import append_line, cut_back, read_lines

EVERY = 5


def steps(path: Path) -> list[int]:
    return [entry["step"] for entry in read_lines(path)]


def test_a_killed_run_tells_of_each_step_once(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    """SIGKILL in the middle of the steps after a checkpoint, and the same command again."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    photo = drawn_faces.write_photo(tmp_path / "photo.png", drawn_faces.RED)
    items = [{"prompt": "a man walks", "photo": photo}]
    validation = {"every": EVERY, "num_steps": 1, "text_encoder": "miniature", "items": items}
    run = {"num_steps": 100_000, "checkpoint_every": EVERY, "log_every": 1, "batch_size": 1}
    config = mini_run.config(
        tmp_path / "run",
        mini_checkpoint,
        mini_cache,
        validation=validation,
        run=run | {"micro_batch_size": 1},
    )
    out, recipe = config.run.out, tmp_path / "recipe.yaml"
    recipe.write_text(config.to_yaml())
    with commands.start("-m", "stdrc_core.train", recipe) as process:
        give_up_at = time.monotonic() + 240
        while time.monotonic() < give_up_at and process.poll() is None:
            told = steps(out / "log.jsonl")
            if told and told[-1] > EVERY and told[-1] % EVERY == 1:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    _, done = CheckpointFolder.of(config.run).newest()
    assert steps(out / "log.jsonl")[-1] >= done
    with (out / "log.jsonl").open("a") as file:
        file.write('{"step": 99, "tot')
    # A validation whose checkpoint was not rated any more, and one of steps that are done again.
    append_line(out / "validation.jsonl", {"step": done + EVERY})
    num_steps = done + EVERY
    again = config.model_copy(
        update={"run": config.run.model_copy(update={"num_steps": num_steps})}
    )
    train_here(again, recipe)
    assert [entry["step"] for entry in read_json_lines(out / "log.jsonl")] == list(range(num_steps))
    validated = list(range(EVERY, num_steps + 1, EVERY))
    assert [e["step"] for e in read_json_lines(out / "validation.jsonl")] == validated
    events = accumulator.EventAccumulator(
        str(out / "tensorboard"), size_guidance={"scalars": 0, "images": 0}
    ).Reload()
    assert [event.step for event in events.Scalars("total")] == list(range(num_steps))
    for name in ("sheet", "clip_00"):
        assert [event.step for event in events.Images(f"validation/{name}")] == validated


# What may be in the file -> the steps below 3 that are left in it.
LINES: dict[str, tuple[bytes, list[int]]] = {
    "nothing": (b"", []),
    "steps below alone": (b'{"step": 0}\n{"step": 2}\n', [0, 2]),
    "steps beyond": (b'{"step": 2}\n{"step": 3}\n{"step": 40}\n', [2]),
    "half a line at the end": (b'{"step": 0}\n{"step": 1, "tot', [0]),
    "half a character at the end": (b'{"step": 0}\n{"step": 1, "a": "\xc3', [0]),
    "a whole line without its end": (b'{"step": 0}\n{"step": 1}', [0]),
    "zeros of a power cut": (b'{"step": 0}\n\x00\x00\x00\x00\n', [0]),
    "half a line and then whole ones": (b'{"step": 0}\n{"st{"step": 1}\n{"step": 2}\n', [0, 2]),
    "a step twice, by older versions": (
        b'{"step": 1, "a": 1}\n{"step": 2, "a": 1}\n{"step": 1, "a": 2}\n{"step": 2, "a": 2}\n',
        [1, 2],
    ),
    "lines that end as Windows ends them": (b'{"step": 0}\r\n{"step": 9}\r\n', [0]),
    "lines of something else": (b'[1]\n"a"\n{"note": 1}\n{"step": "0"}\n{"step": 1}\n', [1]),
    "a line separator inside a text": (b'{"step": 0, "a": "\xe2\x80\xa8"}\n{"step": 5}\n', [0]),
}


@pytest.mark.parametrize("kind", LINES)
def test_lines_are_cut_back_to_the_checkpoint(tmp_path: Path, kind: str):
    path = tmp_path / "log.jsonl"
    stored, expected = LINES[kind]
    path.write_bytes(stored)
    cut_back(path, lambda step: step < 3)
    assert steps(path) == expected
    assert all(entry.get("a") in (None, 2, "\u2028") for entry in read_lines(path))
    append_line(path, {"step": 3})
    assert steps(path) == [*expected, 3]
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        json.loads(line)


def test_no_file_is_no_file(tmp_path: Path):
    cut_back(tmp_path / "log.jsonl", lambda _: True)
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_checkpoint_begins_its_log_anew(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    run = {"num_steps": 1, "log_every": 1}
    config = mini_run.config(tmp_path / "run", mini_checkpoint, mini_cache, run=run)
    config.run.out.mkdir()
    (config.run.out / "log.jsonl").write_bytes(b'{"step": 0}\n{"step": 1}\n')
    mini_run.train(config)
    (entry,) = read_json_lines(config.run.out / "log.jsonl")
    assert entry["step"] == 0
    assert "total" in entry
