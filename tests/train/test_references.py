"""References never show the training window, wherever else they are from.

Frame i of a drawn clip has the grey level 5 i, so a reference tells which frame it is from; the
face finder finds a face in the middle of everything.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from helpers.clips import encode
from helpers.found_faces import embedded_face
from helpers.json_lines import write_json_lines
from PIL import Image
from torch import Tensor

from stdrc_core.faces.finder import EmbeddedFace
from stdrc_core.train.face_track import follow
from stdrc_core.train.prepare import by_identity
from stdrc_core.train.references import Reference, crop_face, find_references
from stdrc_core.train.sources import Entry, read_sources

NUM_FRAMES, FPS = 9, 24
WINDOW_S = NUM_FRAMES / FPS


class Everywhere:
    """A face in the middle of every frame."""

    name = "everywhere"

    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
        height, width = frames.shape[1:3]
        box = (width / 4, height / 4, width * 3 / 4, height * 3 / 4)
        return [(embedded_face([1, 0], box),)] * len(frames)


def grey_clip(path: Path, num_frames: int, first: int = 0) -> Path:
    levels = 5 * (first + torch.arange(num_frames))
    frames = levels.to(torch.uint8)[:, None, None, None].expand(-1, 64, 64, 3).contiguous()
    return encode(path, frames, Fraction(FPS))


def shown(reference: Reference) -> int:
    return round(reference.pixels.float().mean().item() / 5)


def references(entry: Entry, entries: list[Entry]) -> list[Reference]:
    found = find_references(
        entry, by_identity(entries), Everywhere(), window_s=WINDOW_S, size=(64, 64)
    )
    return list(found)


def assert_outside(entry: Entry, found: list[Reference], first: int) -> None:
    window = range(first, first + NUM_FRAMES)
    assert [each.source for each in found if shown(each) in window] == []


@pytest.mark.parametrize("start", [0, 3, 15, 31])
def test_the_same_clip_is_used_outside_the_window_farthest_first(tmp_path: Path, start: int):
    video = grey_clip(tmp_path / "a.mp4", 40)
    entry = Entry(id="a", video=video, start_s=start / FPS)
    found = references(entry, [entry])
    assert found
    assert_outside(entry, found, start)
    middle = start + NUM_FRAMES / 2
    distances = [abs(shown(each) - middle) for each in found]
    assert distances[0] >= max(distances) - 1


def test_a_clip_without_anything_outside_has_no_reference(tmp_path: Path):
    entry = Entry(id="a", video=grey_clip(tmp_path / "a.mp4", NUM_FRAMES + 2))
    assert references(entry, [entry]) == []


def test_two_windows_of_one_file_do_not_lend_each_other_what_they_share(tmp_path: Path):
    grey_clip(tmp_path / "a.mp4", 40)
    (tmp_path / "x").mkdir()
    starts = (4, 8, 12)
    lines = [
        {"video": name, "caption": "c", "identity": "p", "start_s": start / FPS}
        for name, start in zip(("a.mp4", "x/../a.mp4", "a.mp4"), starts, strict=True)
    ]
    write_json_lines(tmp_path / "m.jsonl", lines)
    entries = read_sources(tmp_path / "m.jsonl", window_s=WINDOW_S)
    for entry, start in zip(entries, starts, strict=True):
        found = references(entry, entries)
        assert found
        assert_outside(entry, found, start)


def test_overlapping_parts_of_one_vip_source_video(tmp_path: Path):
    """Two files, the same seconds: AAAA from frame 0, and from frame 5 on."""
    segments = []
    for first, last in ((0, 30), (5, 35)):
        grey_clip(tmp_path / f"AAAA_{first}_{last}.mp4", last - first, first)
        ends = [{"frame_num": n, "framerate": FPS} for n in (first, last)]
        part = {"beg": ends[0], "end": ends[1]}
        segments.append({"id": "AAAA", "clip": part, "fidx_beg": 6, "fidx_end": 29, "caption": "c"})
    (tmp_path / "v.json").write_text(json.dumps([{"faces": [], "segments": segments}]))
    entries = read_sources(tmp_path / "v.json", window_s=WINDOW_S)
    for entry, start in zip(entries, (6, 11), strict=True):
        found = references(entry, entries)
        assert any(each.source.startswith("clip at ") for each in found)
        assert_outside(entry, found, start)


def test_another_clip_comes_first_and_a_broken_one_is_passed_over(tmp_path: Path):
    (tmp_path / "b.mp4").touch()
    videos = [
        grey_clip(tmp_path / "a.mp4", 40),
        tmp_path / "b.mp4",
        grey_clip(tmp_path / "c.mp4", 9),
    ]
    entries = [Entry(id=video.stem, video=video, identity="p") for video in videos]
    kinds = [each.source.split(" at ")[0] for each in references(entries[0], entries)]
    assert kinds == ["clip"] * 5 + ["same clip"] * 5


def test_a_given_photo_is_the_only_candidate(tmp_path: Path):
    video = grey_clip(tmp_path / "a.mp4", 40)
    photo = Image.new("RGBA", (300, 200), (200, 100, 50, 0))
    photo.paste((200, 100, 50, 255), (0, 0, 150, 200))
    photo.save(tmp_path / "p.png")
    entry = Entry(id="a", video=video, reference=tmp_path / "p.png", identity="p")
    (found,) = references(entry, [entry, Entry(id="b", video=video, identity="p")])
    # Twice the frame of 64 pixels at most; what is transparent is black.
    assert found.pixels.shape == (85, 128, 3)
    assert found.pixels[40, 20].tolist() == [200, 100, 50]
    assert found.pixels[40, 110].tolist() == [0, 0, 0]


def test_a_crop_keeps_a_margin_and_stays_in_the_frame():
    frame = torch.arange(100 * 80).view(100, 80, 1).expand(-1, -1, 3)
    assert torch.equal(crop_face(frame, (30, 40, 50, 60)), frame[28:72, 18:62])
    assert crop_face(frame, (0, 0, 80, 100)).shape == (100, 80, 3)


def test_the_face_most_like_the_reference_is_followed():
    def face(place: float, *embedding: float) -> EmbeddedFace:
        points = torch.full((5, 2), place)
        return embedded_face(embedding, (place, 0, place + 10, 10), points)

    track = follow(
        [[face(1, 0, 1), face(2, 0.8, 0.6)], [], [face(3, 1, 0), face(4, -1, 0)]],
        torch.tensor([1.0, 0.0]),
    )
    assert track.has_face.tolist() == [True, False, True]
    assert track.boxes[:, 0].tolist() == [2, 0, 3]
    assert track.landmarks[:, 0, 0].tolist() == [2, 0, 3]
    assert track.mean_cosine == pytest.approx(0.9)
    assert follow([[], []], torch.tensor([1.0, 0.0])).mean_cosine == 0
