"""The three kinds of input: what they offer, and what they are told when they are wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stdrc_core.train.dataset_entry import Origin, Stretch
from stdrc_core.train.sources import read_sources

RATE = 24000 / 1001


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_folder_with_its_captions_and_photos(tmp_path: Path):
    touch(tmp_path / "b.MP4", tmp_path / "a.mov", tmp_path / "sub" / "c.webm", tmp_path / "d.mkv")
    touch(tmp_path / "b.ref.jpg", tmp_path / "sub" / "refs" / "c.png", tmp_path / "notes.pdf")
    for name in ("a", "b", "sub/c"):
        (tmp_path / f"{name}.txt").write_text(f" caption of {name}\n")
    (tmp_path / "d.txt").write_text("\n")
    entries = read_sources(tmp_path, window_s=1)
    assert [entry.id for entry in entries] == ["a.mov", "b.MP4", "d.mkv", "sub/c.webm"]
    assert [entry.caption for entry in entries] == [
        "caption of a",
        "caption of b",
        "",
        "caption of sub/c",
    ]
    photos = [entry.reference for entry in entries]
    assert photos == [None, tmp_path / "b.ref.jpg", None, tmp_path / "sub" / "refs" / "c.png"]
    assert [entry.problem for entry in entries if entry.problem] == [
        f"caption {tmp_path / 'd.txt'} is empty"
    ]


def test_a_caption_without_its_clip_is_told(tmp_path: Path):
    touch(tmp_path / "a.mp4")
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("a caption")
    good, lost = read_sources(tmp_path, window_s=1)
    assert (good.id, good.problem) == ("a.mp4", None)
    assert (lost.id, lost.problem) == (
        "b.txt",
        f"caption {tmp_path / 'b.txt'} has no video beside it",
    )


def test_a_manifest_may_hold_bytes_that_are_no_text(tmp_path: Path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'\xff\xfd\n{"video": "a.mp4", "caption": "one"}\n')
    torn, good = read_sources(path, window_s=1)
    assert torn.problem.startswith(f"line 1 of {path} is not UTF-8 (byte 0xff at position 0")
    assert (good.caption, good.problem) == ("one", None)


def test_a_jsonl_manifest(tmp_path: Path):
    lines = [
        {"video": "a.mp4", "caption": "one"},
        {"video": "/films/b.mp4", "caption": "two", "reference": "b.png", "identity": 7},
        {"video": "a.mp4", "caption": "three", "start_s": 2.5, "note": "ignored"},
        {"video": "a.mp4", "caption": "four"},
        {"video": "c.mp4", "caption": "five", "references": ["a.png", "b.png"]}
        | {"origins": [["film", 2], None], "shot": ["film", 4, 6.5]},
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("\n\n".join(map(json.dumps, lines)) + "\n")
    entries = read_sources(path, window_s=1)
    assert [entry.id for entry in entries] == [
        "a.mp4@0",
        "/films/b.mp4@0",
        "a.mp4@2.5",
        "a.mp4@0#2",
        "c.mp4@0",
    ]
    assert [entry.video for entry in entries[:2]] == [tmp_path / "a.mp4", Path("/films/b.mp4")]
    assert entries[1].reference == tmp_path / "b.png"
    assert entries[1].identity == "7"
    assert entries[2].start_s == 2.5
    assert entries[4].origins == (Origin("film", 2.0), None)
    assert entries[4].shot == Stretch("film", 4.0, 6.5)
    assert not any(entry.problem for entry in entries)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"video": "a.mp4"', "line 2 of .* is not JSON"),
        ('{"video": "a.mp4", "captoin": "x"}', "lacks video or caption"),
        ('["a.mp4", "x"]', "lacks video or caption"),
        ('{"video": "a.mp4", "caption": "x", "start_s": "two"}', "has start_s 'two'"),
        ('{"video": "a.mp4", "caption": "x", "start_s": -1}', "start that is not 0"),
        ('{"video": "a.mp4", "caption": "x", "start_s": NaN}', "start that is not 0"),
        ('{"video": "a.mp4", "caption": " "}', "empty caption"),
        ('{"video": null, "caption": "x"}', "has video None"),
        (
            '{"video": "a", "caption": "x", "shot": ["a", 1]}',
            "line 2 .* a shot that cannot be used",
        ),
        ('{"video": "a", "caption": "x", "origins": [["a", 1]]}', "1 origins of 0 photos"),
        ('{"video": "a", "caption": "x", "origins": [7]}', "needs what collect wrote, or none"),
    ],
)
def test_a_bad_line_is_reported_and_the_others_go_on(tmp_path: Path, line: str, words: str):
    path = tmp_path / "data.jsonl"
    path.write_text('{"video": "a.mp4", "caption": "x"}\n' + line)
    good, bad = read_sources(path, window_s=1)
    assert good.problem is None
    assert bad.id == "data.jsonl:2"
    assert re.search(words, bad.problem)


def clip(first: int, last: int) -> dict[str, Any]:
    return {
        "beg": {"frame_num": first, "framerate": RATE},
        "end": {"frame_num": last, "framerate": RATE},
    }


def face(name: str, part: dict[str, Any], fidx: int) -> dict[str, Any]:
    return {"id": name, "clip": part, "fidx": fidx, "xyxy_norm": [0.25, 0.1, 0.5, 0.6]}


def vip_record() -> dict[str, Any]:
    """As docs/method.md section 6: frame indices count within `clip`, a part of a source video."""
    here, elsewhere = clip(1000, 1400), clip(50, 90)
    return {
        "faces": [
            face("AAAA", here, 60),  # in the window of the segment
            face("AAAA", here, 300),  # in the same part, outside the window
            face("BBBB", elsewhere, 7),
            face("CCCC", elsewhere, 3),  # a video that the user does not have
            face("AAAA", clip(1040, 1200), 20),  # another part, which is the same time
        ],
        "segments": [
            {"id": "AAAA", "clip": here, "fidx_beg": 48, "fidx_end": 247, "caption": " A man. "},
            {"id": "CCCC", "clip": elsewhere, "fidx_beg": 0, "fidx_end": 39, "caption": "Gone."},
        ],
    }


def test_vip_200k(tmp_path: Path):
    touch(tmp_path / "clips" / "AAAA.mp4", tmp_path / "clips" / "x" / "BBBB_50_90.mp4")
    path = tmp_path / "train.json"
    path.write_text(json.dumps([vip_record(), {"faces": [], "segments": []}]))
    here, gone = read_sources(path, window_s=1.0, clips=tmp_path / "clips")
    assert here.video == tmp_path / "clips" / "AAAA.mp4"
    assert here.start_s == pytest.approx(1048 / RATE)
    assert here.end_s == pytest.approx(1248 / RATE)
    assert here.caption == "A man."
    assert here.identity == gone.identity == "vip-0"
    assert [(f.video.name, f.time_s) for f in here.faces] == [
        ("BBBB_50_90.mp4", pytest.approx(7 / RATE)),
        ("AAAA.mp4", pytest.approx(1300 / RATE)),
    ]
    assert here.faces[0].box == (0.25, 0.1, 0.5, 0.6)
    assert "holds no video CCCC_50 or CCCC" in gone.problem


@pytest.mark.parametrize(
    "content",
    ["{}", "[1]", '[{"faces": []}]', '[{"faces": [], "segments": [{"id": "x"}]}]', "no json"],
)
def test_another_json_is_one_sentence(tmp_path: Path, content: str):
    path = tmp_path / "train.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"is not VIP-200K's JSON|offers no clips"):
        read_sources(path, window_s=1)


def test_a_framerate_of_nothing_is_named(tmp_path: Path):
    record = vip_record()
    record["segments"][0]["clip"]["beg"]["framerate"] = 0
    path = tmp_path / "train.json"
    path.write_text(json.dumps([record]))
    with pytest.raises(ValueError, match="framerate of AAAA was 0"):
        read_sources(path, window_s=1)


def test_what_offers_nothing(tmp_path: Path):
    with pytest.raises(ValueError, match="offers no clips"):
        read_sources(tmp_path, window_s=1)
    for name in ("none", "none.jsonl", "none.json"):
        with pytest.raises(ValueError, match="is no folder"):
            read_sources(tmp_path / name, window_s=1)
