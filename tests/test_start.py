"""A command answers `--help` at once, and its terminal shows its own messages alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stdrc_core.mini_build.arguments import STAGE_NAMES
from stdrc_core.train import arguments

ROOT = Path(__file__).parents[1]
# What takes seconds to import, or warns while it is imported.
HEAVY = {
    *("torch", "torchvision", "transformers", "torchao", "diffusers", "accelerate", "peft"),
    *("onnxruntime", "insightface", "onnx", "cv2", "matplotlib", "av", "pydantic", "tensorboard"),
    *("skimage", "scipy", "pandas"),
}
COMMANDS = {
    "generate": ("",),
    "train": ("", "prepare", "run", "export", "configuration"),
    "evaluate": ("",),
    "mini": ("", "draw"),
    "mini_build": ("",),
    "experiments": ("",),
}
# Runs a program as `python -m` does, and says what it has imported.
RUN = """
import atexit, runpy, sys
name, *sys.argv[1:] = sys.argv[1:]
atexit.register(lambda: sys.stderr.write("\\n".join({m.split(".")[0] for m in sys.modules})))
runpy.run_module(name, run_name="__main__")
"""


def imported_by(program: str, *words: str) -> tuple[int, str, set[str]]:
    """The exit status, what went to stdout, and the heavy modules that were imported."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, f"stdrc_core.{program}", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return done.returncode, done.stdout, HEAVY & set(done.stderr.splitlines())


@pytest.mark.parametrize(
    ("program", "command"), [(name, each) for name, all_ in COMMANDS.items() for each in all_]
)
def test_help_imports_nothing_heavy(program: str, command: str):
    status, said, heavy = imported_by(program, *filter(None, [command]), "--help")
    assert status == 0
    assert said.startswith(f"usage: python -m stdrc_core.{program}")
    assert not heavy


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-5"])
def test_help_is_shown_by_terminals_of_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch):
    """Its own signs, such as the plus or minus of a standard error, are not in all of them."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    status, said, _ = imported_by("experiments", "--help")
    assert status == 0
    assert "usage: python -m stdrc_core.experiments" in said


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("generate", ["--steps", "many"]),
        ("generate", ["--placement", "left"]),
        ("train", ["prepare", "--data", "clips"]),
        ("train", ["run"]),
        ("train", ["walk"]),
        ("evaluate", ["--videos", "clips"]),
        ("mini_build", ["--until", "tomorrow", "--out", "a"]),
        ("experiments", ["--only", "sweeps"]),
    ],
)
def test_a_mistake_in_the_flags_is_told_at_once_too(program: str, words: list[str]):
    status, said, heavy = imported_by(program, *words)
    assert (status, said) == (2, "")
    assert not heavy


def test_what_the_arguments_repeat_is_what_their_commands_have():
    from typing import get_args

    from stdrc_core.mini_build.build import STAGES
    from stdrc_core.train.config import Dtype

    assert tuple(STAGES) == STAGE_NAMES
    assert get_args(Dtype) == arguments._DTYPES


# A package of others that says all that packages say while they are imported and run.
NOISE = """
import logging, warnings
warnings.warn("noise: a warning", stacklevel=1)
warnings.warn("noise: a future warning", FutureWarning, stacklevel=1)
warnings.warn("noise: deprecated", DeprecationWarning, stacklevel=1)
logging.getLogger("others").info("noise: info")
logging.getLogger("others.deep").warning("noise: logged")
logging.warning("noise: of the root")
logging.getLogger("others").error("an error of others")
"""
TALK = """
import logging, sys
from stdrc_core.commands import set_up_terminal
set_up_terminal()
import others
import {library}
logging.getLogger("stdrc_core.generate.run").info("our own word")
logging.getLogger("stdrc_core.ltx.lora").warning("our own warning")
"""


@pytest.mark.parametrize(
    "library", ["os", "diffusers.models", "transformers", "onnxruntime", "torchao.quantization"]
)
def test_of_other_packages_errors_alone_are_shown(tmp_path: Path, library: str):
    if library != "os":
        pytest.importorskip(library.partition(".")[0])
    (tmp_path / "others.py").write_text(NOISE)
    done = subprocess.run(
        [sys.executable, "-c", TALK.format(library=library)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": ""},
        check=True,
    )
    said = (done.stdout + done.stderr).splitlines()
    assert said == ["an error of others", "our own word", "our own warning"]


def test_who_asks_python_for_warnings_sees_them(tmp_path: Path):
    (tmp_path / "others.py").write_text(NOISE)
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", TALK.format(library="os")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
    )
    assert "noise: a warning" in done.stderr
