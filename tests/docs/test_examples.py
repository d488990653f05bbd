"""The examples that need no weights but the miniature's run as they stand on their pages."""

from __future__ import annotations

import importlib
import json
import logging
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import PROJECT
from helpers.doc_pages import DOCS

from stdrc_core.mini.shipped import CHECKPOINT, ONE_PASS_LORA
from stdrc_core.video import count_frames


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which the pack's paths begin as in its own, so that nothing of a run
    stays there."""
    (tmp_path / "stdrc_core").symlink_to(PROJECT / "stdrc_core")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def first_block(page: str, heading: str, kind: str) -> str:
    """The first block of code of a kind below a heading."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return text.split(f"# {heading}\n")[1].split(f"```{kind}\n")[1].split("```")[0]


def run_lines(block: str) -> None:
    """Runs a block's commands but for those that install. Our own commands run in this process,
    which spares each of them the import of torch."""
    for command in (part for line in block.splitlines() for part in line.split(" && ")):
        words = shlex.split(command)
        if words[:2] == ["python", "-m"]:
            importlib.import_module(f"{words[2]}.__main__").main(words[3:])
        elif words[:2] == ["python", "-c"]:
            exec(words[2], {})
        elif words[0] == "echo":
            subprocess.run(command, shell=True, check=True)
        else:
            assert words[:2] == ["pip", "install"], command


def test_the_readmes_first_command_makes_a_clip_in_one_pass(folder: Path):
    run_lines(first_block("../README.md", "First clip, without weights", "sh"))
    assert count_frames(folder / "outputs" / "person_0.mp4") == 17
    told = json.loads((folder / "outputs" / "person_0.json").read_text())
    assert told["asked"]["weights"] == f"{CHECKPOINT.name} + {ONE_PASS_LORA.name}"
    assert (told["asked"]["text_scale"], told["asked"]["reference_scale"]) == (1, 1)
    # Of docs/results/miniature.md's averages, about two thirds with the reference; 0.1 without it.
    assert told["facesim"] > 0.4


def test_the_rehearsal_of_training_ends_with_a_clip(folder: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    run_lines(first_block("train/quick-start.md", "A rehearsal without weights", "sh"))
    assert "drawn_cache: 8 samples; set aside: none." in caplog.messages
    assert (folder / "runs" / "rehearsal" / "stdrc_lora.safetensors").is_file()
    assert count_frames(folder / "outputs" / "person_0.mp4") == 17
    told = (DOCS / "train" / "running.md").read_text(encoding="utf-8")
    for path in (folder / "runs" / "rehearsal").iterdir():
        assert f"`{path.name}" in told, path


def test_the_rehearsal_of_measuring_writes_what_the_page_says(folder: Path):
    run_lines(first_block("evaluate.md", "On the miniature, without weights", "sh"))
    told = (DOCS / "evaluate.md").read_text(encoding="utf-8")
    written = {
        path.name for name in ("scores_fast", "compared") for path in (folder / name).iterdir()
    }
    assert len(written) == 9
    for name in written:
        assert f"`{name}{'/' * (name == 'clips')}`" in told, name


def python_blocks(page: str) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S
    )


def run_python(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(block, "python.md", "exec"), names)
    return names


def test_the_pipeline_makes_a_clip_of_the_person(folder: Path):
    got = run_python(python_blocks("python.md")[0])
    assert got["clip"].shape == (17, 128, 128, 3)
    assert count_frames(folder / "person.mp4") == 17
    # Of docs/results/miniature.md's averages, about two thirds with the reference; 0.1 without it.
    assert got["facesim"] > 0.4


def test_the_methods_functions_give_what_the_page_says():
    _, bounds, streams = python_blocks("python.md")
    got = run_python(bounds)
    assert f"# {got['first']}" in bounds
    assert got["bounds"].shape == (3, got["grid"].height * got["grid"].width, 2)
    got = run_python(streams)
    v0, vy, vyr = (got[name] for name in ("v0", "vy", "vyr"))
    expected = v0 + 5 * (vy - v0) + 7.5 * (vyr - vy)
    torch.testing.assert_close(got["velocity"], expected, rtol=1e-4, atol=1e-4)
    together = v0 + 5 * (vyr - v0)
    torch.testing.assert_close(got["velocity_together"], together, rtol=1e-4, atol=1e-4)
