"""Pieces that are kept, and made anew where they were asked for otherwise."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stdrc_core.experiments.kept import keep, own_folder, stored_for
from stdrc_core.files import sha256_of
from stdrc_core.mini_build.provenance import commit_of, machine

HERE, THERE = {"commit": "a", "machine": "m"}, {"commit": "b", "machine": "m"}


def test_a_piece_is_made_once_for_what_is_asked(tmp_path: Path):
    path, made = tmp_path / "new" / "piece.json", []

    def make() -> dict[str, object]:
        made.append(1)
        return {"values": (1.0, None), "times": len(made)}

    asked = {"weights": "x", "sizes": (3, 4)}
    first = keep(path, asked, make, lambda: HERE)
    assert first.found == {"values": [1.0, None], "times": 1}
    # It says where it was measured then, not now.
    assert keep(path, asked, make, lambda: THERE) == first
    other = keep(path, asked | {"weights": "y"}, make, lambda: THERE)
    assert (other.found["times"], other.made_by) == (2, THERE)
    assert keep(path, asked, make, lambda: HERE).found["times"] == 3
    assert stored_for(path, asked) is not None
    assert stored_for(path, {}) is None
    assert stored_for(tmp_path / "none.json", asked) is None


def test_a_piece_that_fails_leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "piece.json"
    kept = keep(path, {"a": 1}, lambda: "first", lambda: HERE)

    def fail() -> str:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        keep(path, {"a": 2}, fail, lambda: HERE)
    assert keep(path, {"a": 1}, fail, lambda: HERE) == kept
    assert [each.name for each in tmp_path.iterdir()] == ["piece.json"]


def test_a_folder_goes_on_for_the_same_and_begins_anew_for_other(tmp_path: Path):
    folder = own_folder(tmp_path / "run", {"steps": 3})
    (folder / "checkpoint").touch()
    assert (own_folder(tmp_path / "run", {"steps": 3}) / "checkpoint").is_file()
    assert not (own_folder(tmp_path / "run", {"steps": 4}) / "checkpoint").exists()


def test_a_commit_says_whether_its_files_were_changed(tmp_path: Path):
    def git(*words: str) -> str:
        options = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(
            ["git", *options, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", ".")
    git("commit", "-qm", "first")
    name = git("rev-parse", "--short", "HEAD")
    (tmp_path / "another").touch()
    assert commit_of(tmp_path) == name
    (tmp_path / "file").write_text("two")
    assert commit_of(tmp_path) == f"{name}-dirty"


def test_a_folder_that_git_does_not_know_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", "")
    assert commit_of(tmp_path) == "unknown"


def test_a_machine_has_cores_and_a_torch():
    assert "cores, torch " in machine()


def test_a_digest_is_the_files(tmp_path: Path):
    (tmp_path / "abc").write_bytes(b"abc")
    # The example of FIPS 180-2.
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "abc") == known
