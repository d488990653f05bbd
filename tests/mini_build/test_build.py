"""A build's report, and that a build goes on only as it was begun."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.doc_pages import PROJECT

from stdrc_core.files import sha256_of
from stdrc_core.mini_build import arguments, build
from stdrc_core.mini_build.provenance import commit_of


def asked(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    arguments.build(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the stages that were run; each writes an empty file in place of its result."""
    ran: list[str] = []

    def make(name: str):
        def stage(args: argparse.Namespace) -> dict[str, Any]:
            ran.append(name)
            (args.out / name).parent.mkdir(exist_ok=True)
            (args.out / name).touch()
            return {}

        return stage

    monkeypatch.setattr(build, "STAGES", {name: make(name) for name in build.STAGES})
    return ran


def test_the_arguments_name_every_stage():
    assert list(arguments.STAGE_NAMES) == list(build.STAGES)


def test_the_report_says_of_each_stage_when_and_of_what_it_was_made(
    tmp_path: Path, stages: list[str]
):
    build.main(asked("--out", tmp_path, "--num-processes", 1, "--until", "base.safetensors"))
    report = json.loads((tmp_path / "report.json").read_text())
    until = list(build.STAGES)[:6]
    assert stages == until
    assert {name for name in build.STAGES if f"{name}: commit" in report} == set(until)
    assert report["cache: commit"] == commit_of() and report["cache: time_s"] >= 0
    assert "cores" in report["faces: machine"]
    assert report["options"]["seed"] == 0


def test_a_build_goes_on_only_with_the_options_that_it_was_begun_with(
    tmp_path: Path, stages: list[str]
):
    out, earlier = tmp_path / "out", tmp_path / "stdrc_mini.safetensors"
    earlier.write_bytes(b"weights")
    recognizer = tmp_path / "faces" / "rec_mini.onnx"
    recognizer.parent.mkdir()
    recognizer.touch()
    begun = ["--out", out, "--num-processes", 1, "--start-from", tmp_path]
    build.main(asked(*begun, "--until", "faces"))
    for changed in (["--bfloat16"], ["--seed", 1], ["--vae-steps", 5]):
        with pytest.raises(ValueError, match="begun with other options"):
            build.main(asked(*begun, *changed))
    with pytest.raises(ValueError, match=r"other options \(start_from\)"):
        build.main(asked("--out", out, "--num-processes", 1))
    earlier.write_bytes(b"other weights")
    with pytest.raises(ValueError, match=r"\(start_from\)"):
        build.main(asked(*begun))
    earlier.write_bytes(b"weights")
    build.main(asked(*begun))
    assert sorted(stages) == sorted(build.STAGES)


def test_the_commit_and_the_digest_are_those_of_git_and_sha256sum(tmp_path: Path):
    words = ["git", "rev-parse", "--short", "HEAD"]
    try:
        head = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the project is not a git clone")
    assert commit_of().removesuffix("-dirty") == head.stdout.strip()
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(path) == known


def test_what_a_build_cannot_go_on_from_is_told_before_anything_is_made(tmp_path: Path):
    with pytest.raises(ValueError, match=r"which has no stdrc_mini\.safetensors; needs the folder"):
        build.main(asked("--out", tmp_path / "out", "--start-from", tmp_path))
    (tmp_path / "stdrc_mini.safetensors").touch()
    with pytest.raises(ValueError, match=r"which has no faces/rec_mini\.onnx"):
        build.main(asked("--out", tmp_path / "out", "--start-from", tmp_path))
    assert not (tmp_path / "out").exists()
