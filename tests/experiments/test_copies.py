"""Copies: clips with a frame of their own as the photo, and cases that are asked for with one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stdrc_core.experiments.copies import draw_copied, single_clips, write_copies
from stdrc_core.experiments.scores import draw_cases
from stdrc_core.mini.drawing import NUM_FRAMES, draw_clip
from stdrc_core.mini.scene import ATTRIBUTES
from stdrc_core.train.sources import read_sources
from stdrc_core.video import read_clip


def test_each_photo_is_a_whole_frame_of_its_clip(build: Path, tmp_path: Path):
    manifest = write_copies(build / "data" / "manifest.jsonl", tmp_path / "copies", 3, seed=0)
    entries = read_sources(manifest, window_s=NUM_FRAMES / 24)
    assert [entry.problem for entry in entries] == [None] * 3
    places = []
    for entry in entries:
        assert entry.video.resolve().parent == build / "data"
        clip = read_clip(entry.video, num_frames=17, height=128, width=128, fps=24.0).numpy()
        with Image.open(entry.reference) as photo:
            equal = (clip == np.asarray(photo)).all(axis=(1, 2, 3))
        assert equal.any()
        places.append(int(equal.argmax()))
    # They are not all of one place in the clip.
    assert len(set(places)) > 1
    again = write_copies(build / "data" / "manifest.jsonl", tmp_path / "again", 3, seed=0)
    assert again.read_text() == manifest.read_text()


def test_clips_of_two_and_second_clips_of_a_person_are_left_out(tmp_path: Path):
    lines = [
        {"video": "a.mp4", "caption": "x", "identity": "1"},
        {"video": "b.mp4", "caption": "x", "identity": "1"},
        {"video": "c.mp4", "caption": "x", "references": ["l.png", "r.png"]},
        {"video": "d.mp4", "caption": "x", "references": ["1.png", "2.png"], "identity": "2"},
    ]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [line["video"] for line in single_clips(manifest)] == ["a.mp4", "d.mp4"]


def test_a_copied_case_shares_its_person_alone():
    cases = draw_cases(6, seed=3)
    for copied in draw_copied(cases, seed=3):
        case = copied.case
        for name in ATTRIBUTES:
            assert getattr(copied.frame_scene, name) != getattr(case.scene, name)
        drawn = draw_clip(case.person, copied.frame_scene).pixels[copied.frame_number]
        assert np.array_equal((copied.frame[0].numpy() * 255).round(), drawn)
        # It is no portrait.
        assert (copied.frame != case.photo).any()
    assert [each.case for each in draw_copied(cases, seed=3)] == cases


@pytest.mark.parametrize("seed", [0, 1])
def test_frames_come_from_all_over_the_clip(seed: int):
    numbers = {each.frame_number for each in draw_copied(draw_cases(60, seed), seed)}
    assert min(numbers) <= 2 and max(numbers) >= 14
