"""Tracks and windows of `collect`, and the clips that are cut out of videos."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.clips import decode, encode
from helpers.collect_tracks import NEUTRAL, make_scan, make_track, unit

from stdrc_core.train.collect.cut import Cut, cut_clip, plan_cut
from stdrc_core.train.collect.options import CollectConfig
from stdrc_core.train.collect.scan import Scan
from stdrc_core.train.collect.shots import Shot
from stdrc_core.train.collect.tracks import Track, find_tracks
from stdrc_core.train.collect.windows import Window, find_windows
from stdrc_core.video import read_frames


def test_tracks_end_at_cuts_and_two_that_cross_are_kept_apart():
    """Two persons walk through each other; their faces tell who is who."""
    right = make_track("", unit(0), count=16, moves=20, left=0)
    left = make_track("", unit(90), count=16, moves=-20, left=300)
    cut = Shot(start_s=2, end_s=4)
    scan = make_scan([right, left], [Shot(start_s=0, end_s=2), cut])
    tracks = find_tracks("v", scan)
    assert [(track.shot, track.start_s, track.end_s) for track in tracks] == [
        *((0, 0, 2), (0, 0, 2), (1, 2, 4), (1, 2, 4)),
    ]
    for track in tracks:
        assert (track.embedding @ track.embedding[0]).min() > 0.99
        steps = track.box[1:, 0] - track.box[:-1, 0]
        assert (steps > 0).all() or (steps < 0).all()


SHORT = CollectConfig(num_frames=25, fps=24, min_face_px=60)


def windows_of(tracks: list[Track], shots: list[Shot], config: CollectConfig = SHORT):
    windows, left_out = find_windows("v.mp4", "v", make_scan(tracks, shots), tracks, config)
    return windows, [each.reason for each in left_out]


def test_windows_hold_exactly_so_many_persons():
    alone = make_track("v#0", unit(0), count=16)
    guest = make_track("v#1", unit(90), start_s=2, count=8, left=300)
    shots = [Shot(start_s=0, end_s=4)]
    ones, reasons = windows_of([alone, guest], shots)
    assert [window.end_s <= 2.0 for window in ones] == [True]
    assert "another number of persons" in reasons
    twos, _ = windows_of([alone, guest], shots, replace(SHORT, num_persons=2))
    assert [(window.start_s >= 2, len(window.tracks)) for window in twos] == [(True, 2)]
    assert twos[0].tracks == (alone, guest)


@pytest.mark.parametrize(
    ("looks", "changes", "reason"),
    [
        ({}, {"side": 50.0}, "face too small"),
        ({"sharpness": 0.1}, {}, "face blurred"),
        ({"burnt": 0.6}, {}, "face burnt out or in the dark"),
        ({"dark": 0.6}, {}, "face burnt out or in the dark"),
        ({"yaw_deg": -70}, {}, "face turned away"),
        ({}, {"moves": 0.0}, "no motion"),
    ],
)
def test_each_flaw_has_its_reason(looks: dict, changes: dict, reason: str):
    track = make_track("v#0", unit(0), looks=replace(NEUTRAL, **looks), **changes)
    windows, reasons = windows_of([track], [Shot(start_s=0, end_s=2)])
    assert windows == []
    assert reasons == [reason]


def test_the_same_pose_twice_in_a_shot_is_thinned():
    track = make_track("v#0", unit(0), count=24, moves=1.0)
    windows, reasons = windows_of([track], [Shot(start_s=0, end_s=6)])
    assert len(windows) == 1
    assert "near-duplicate" in reasons
    walks = make_track("v#0", unit(0), count=24, moves=25.0)
    assert len(windows_of([walks], [Shot(start_s=0, end_s=6)])[0]) >= 3


def moving(count: int, size: tuple[int, int] = (64, 96)) -> torch.Tensor:
    """A white bar that moves a pixel a frame over grey, so that each frame tells its number."""
    frames = torch.full((count, *size, 3), 60, dtype=torch.uint8)
    for i in range(count):
        frames[i, :, i % size[1] : i % size[1] + 6] = 250
    return frames


def scan_of(path: Path, keyframes_s: tuple[float, ...], **changes) -> tuple[Scan, Window]:
    track = make_track("v#0", unit(0))
    scan = make_scan([track], [Shot(start_s=0, end_s=3)], keyframes_s=keyframes_s, **changes)
    return scan, Window(footage="v", shot=0, start_s=1.2, end_s=2.2, tracks=(track,))


@pytest.mark.parametrize("bframes", ["0", "3"])
def test_packets_are_copied_from_a_keyframe_on(tmp_path: Path, bframes: str):
    """The clip holds the very pixels of the footage, also where pictures are not in order."""
    video = encode(tmp_path / "v.mp4", moving(75), Fraction(25), g="20", bf=bframes)
    scan, window = scan_of(video, (0.0, 0.8, 1.6))
    cut = plan_cut(window, scan)
    assert cut == Cut(suffix=".mp4", copy_from_s=0.8)
    assert cut.start_s(window) == pytest.approx(0.4)
    assert cut_clip(video, tmp_path / "a" / "clip", window, cut, scan) == cut
    clip, footage = decode(tmp_path / "a" / "clip.mp4"), decode(video)
    # From 0.8 s, where the keyframe is, to 2.2 s, and what had to come along to show it.
    assert 35 <= len(clip) <= 38
    assert (clip[:35] == footage[20:55]).all()
    cut_clip(video, tmp_path / "b", window, cut, scan)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "a" / "clip.mp4").read_bytes()


@pytest.mark.parametrize(("ending", "bframes"), [("ts", "2"), ("mkv", "2"), ("avi", "2")])
def test_a_clip_begins_where_its_window_does_in_any_container(
    tmp_path: Path, ending: str, bframes: str
):
    """A transport stream's times begin anywhere; AVI does not say when a packet is shown."""
    video = encode(tmp_path / f"v.{ending}", moving(75), Fraction(25), g="20", bf=bframes)
    scan, window = scan_of(video, (0.0, 0.8, 1.6))
    cut = cut_clip(video, tmp_path / "clip", window, plan_cut(window, scan), scan)
    assert (cut.copy_from_s is None) == (ending == "avi")
    (own,) = read_frames((tmp_path / "clip").with_suffix(cut.suffix), [cut.start_s(window) + 0.2])
    (footage,) = read_frames(video, [1.4])
    assert (own.float() - footage.float()).abs().mean() < 4


@pytest.mark.parametrize("start_s", [1.0, 1.8, 2.5])
def test_recordings_that_were_joined_give_the_clip_that_was_found(tmp_path: Path, start_s: float):
    """The second part's packets say the times of the first one again."""
    parts = moving(20), moving(75).flip(2)
    names = [
        encode(tmp_path / f"{i}.ts", each, Fraction(25), g="20", bf="0")
        for i, each in enumerate(parts)
    ]
    video = tmp_path / "both.ts"
    video.write_bytes(b"".join(each.read_bytes() for each in names))
    scan, window = scan_of(video, (0.0, 0.8, 1.6, 2.4))
    window = replace(window, start_s=start_s, end_s=start_s + 0.8)
    cut = cut_clip(video, tmp_path / "clip", window, plan_cut(window, scan), scan)
    (own,) = read_frames((tmp_path / "clip").with_suffix(cut.suffix), [cut.start_s(window) + 0.2])
    assert (own.float() - parts[1][round(25 * (start_s + 0.2)) - 20].float()).abs().mean() < 4


def test_a_keyframe_a_hair_after_the_window_gives_no_negative_start():
    track = make_track("v#0", unit(0))
    scan = make_scan([track], [Shot(start_s=0, end_s=3)], keyframes_s=(1.2004,))
    window = Window(footage="v", shot=0, start_s=1.2, end_s=2.2, tracks=(track,))
    assert plan_cut(window, scan).start_s(window) == 0


def test_the_last_frame_of_training_is_the_shots_own():
    """Of 25 frames at 24 a second the last is at 1 s, where a shot of 1 s has ended."""
    track = make_track("v#0", unit(0))
    for length_s, count in ((1.0, 0), (1.0 + 0.4 / 25, 0), (1.0 + 0.6 / 25, 1)):
        windows, reasons = windows_of([track], [Shot(start_s=0, end_s=length_s)])
        assert len(windows) == count
        assert reasons == (["shot too short"] if not count else [])


def test_what_is_left_out_as_a_duplicate_is_told_to_its_end():
    track = make_track("v#0", unit(0), count=24, moves=1.0)
    shots = [Shot(start_s=0, end_s=6)]
    (window,), left_out = find_windows("v.mp4", "v", make_scan([track], shots), [track], SHORT)
    (twice,) = left_out
    assert twice.start_s == pytest.approx(window.end_s, abs=1e-3)
    assert twice.end_s > 5


def test_a_turned_phone_video_is_copied_upright(tmp_path: Path):
    video = encode(tmp_path / "v.mp4", moving(75), Fraction(25), rotation=90, g="20")
    scan, window = scan_of(video, (0.8,))
    cut_clip(video, tmp_path / "clip", window, plan_cut(window, scan), scan)
    (own,) = read_frames(tmp_path / "clip.mp4", [0.4])
    (footage,) = read_frames(video, [1.2])
    assert own.shape == (96, 64, 3)
    assert (own == footage).all()


def test_without_a_keyframe_or_with_bars_a_clip_is_encoded(tmp_path: Path):
    video = encode(tmp_path / "v.mp4", moving(75), Fraction(25), g="75")
    for keyframes_s, crop in (((2.0,), None), ((0.8,), (0, 8, 96, 56))):
        scan, window = scan_of(video, keyframes_s)
        scan = replace(scan, shots=(Shot(start_s=0.5, end_s=3, crop=crop),))
        cut = plan_cut(window, scan)
        assert cut == Cut(suffix=".mp4", copy_from_s=None)
        cut_clip(video, tmp_path / "clip", window, cut, scan)
        clip, footage = decode(tmp_path / "clip.mp4"), decode(video)[30:55]
        assert len(clip) == 25
        footage = footage if crop is None else footage[:, 8:56]
        assert clip.shape == footage.shape
        assert np.abs(clip.astype(int) - footage).mean() < 4
