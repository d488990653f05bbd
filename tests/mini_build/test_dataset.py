"""Drawn clips on disk: what `prepare` would find there."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stdrc_core.mini.character import identity, is_unseen
from stdrc_core.mini.drawing import NUM_FRAMES
from stdrc_core.mini_build import dataset
from stdrc_core.mini_build.dataset import write_dataset
from stdrc_core.train.sources import read_sources
from stdrc_core.video import probe, read_clip


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting processes takes longer than drawing; experiments/test_two_people starts them."""
    monkeypatch.setattr(dataset, "ProcessPoolExecutor", lambda count, _: ThreadPoolExecutor(count))


def test_a_manifest_that_prepare_reads_and_persons_of_one_side(tmp_path: Path):
    for unseen in (False, True):
        manifest = write_dataset(tmp_path / str(unseen), 4, seed=1, unseen=unseen)
        entries = read_sources(manifest, window_s=NUM_FRAMES / 24)
        assert [entry.problem for entry in entries] == [None] * 4
        assert {is_unseen(int(entry.identity)) for entry in entries} == {unseen}
        assert probe(entries[0].video).duration_s == pytest.approx(NUM_FRAMES / 24, abs=1e-3)
        with Image.open(entries[0].reference) as photo:
            corner = np.asarray(photo)[0, 0].astype(int)
        clip = read_clip(entries[0].video, num_frames=NUM_FRAMES, height=128, width=128, fps=24.0)
        # Another wall behind the same person.
        assert np.abs(clip[0, 0, 0].numpy().astype(int) - corner).max() > 20
        assert identity(int(entries[0].identity)).skin


def test_what_is_there_stays_and_the_same_seed_is_the_same_data(tmp_path: Path):
    manifest = write_dataset(tmp_path / "a", 2, seed=1)
    before = {path.name: path.stat().st_mtime_ns for path in manifest.parent.iterdir()}
    lines = manifest.read_text().splitlines()
    grown = write_dataset(tmp_path / "a", 3, seed=1)
    assert grown.read_text().splitlines()[:2] == lines
    names = [json.loads(line)["video"] for line in lines]
    assert all((tmp_path / "a" / name).stat().st_mtime_ns == before[name] for name in names)
    other = write_dataset(tmp_path / "b", 2, seed=1)
    assert other.read_text() == "\n".join(lines) + "\n"
    assert (tmp_path / "b" / names[0]).read_bytes() == (tmp_path / "a" / names[0]).read_bytes()


def test_some_clips_have_a_gallery_and_some_show_two_persons(tmp_path: Path):
    manifest = write_dataset(tmp_path / "data", 8, seed=3, duo_every=4, gallery_every=3)
    entries = read_sources(manifest, window_s=NUM_FRAMES / 24)
    assert [entry.problem for entry in entries] == [None] * 8
    # The fourth and the eighth are duos; of the others the first and the seventh have galleries.
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    counts = [len(line.get("references", ["one"])) for line in lines]
    assert counts == [4, 1, 1, 2, 1, 1, 4, 2]
    assert [entry.identity is None for entry in entries] == [count == 2 for count in counts]
    persons = [name for path in manifest.parent.glob("*.mp4") for name in path.stem.split("_")]
    assert len(set(persons)) == len(persons) == 10
    photos = [np.asarray(Image.open(manifest.parent / name)) for name in lines[0]["references"]]
    assert all(not np.array_equal(photos[0], photo) for photo in photos[1:])
