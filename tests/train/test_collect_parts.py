"""The parts of `collect`, each against a closed form or a property."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.clips import decode, encode
from helpers.json_lines import write_json_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from skimage import data

from stdrc_core.train.collect.by_hand import read_decisions
from stdrc_core.train.collect.cut import Cut, cut_clip, plan_cut
from stdrc_core.train.collect.face_looks import Looks, pose, sharpness
from stdrc_core.train.collect.letterbox import bars_of, crop_of
from stdrc_core.train.collect.options import CollectConfig
from stdrc_core.train.collect.overlap import iou
from stdrc_core.train.collect.persons import PersonIds, cluster, group_tracks
from stdrc_core.train.collect.references import Candidate, Gallery
from stdrc_core.train.collect.scan import Scan
from stdrc_core.train.collect.shots import Shot, ShotFinder
from stdrc_core.train.collect.tracks import Track, find_tracks
from stdrc_core.train.collect.verification import DEFAULT, HIGHEST, LOWEST, threshold
from stdrc_core.train.collect.windows import Window, find_windows
from stdrc_core.train.sources import read_sources
from stdrc_core.video import read_frames

NEUTRAL = Looks(
    yaw_deg=0,
    pitch=0,
    roll_deg=0,
    sharpness=0.7,
    burnt=0,
    dark=0,
    light=(128.0, 128.0, 128.0),
    clothes=(128.0, 128.0, 128.0),
)
# Eyes, nose and mouth of a head of depth: (x, y, towards the camera), in half eye distances.
HEAD = np.array([[-1, 0, 0], [1, 0, 0], [0, 1.1, 1], [-0.6, 2, 0], [0.6, 2, 0]], dtype=float)


def turned(yaw_deg: float, roll_deg: float) -> torch.Tensor:
    yaw, roll = math.radians(yaw_deg), math.radians(roll_deg)
    x = HEAD[:, 0] * math.cos(yaw) + HEAD[:, 2] * math.sin(yaw)
    points = np.stack([x, HEAD[:, 1]], axis=1)
    turn = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
    return torch.from_numpy(100 + 30 * points @ turn)


@given(st.floats(-60, 60), st.floats(-40, 40))
@settings(deadline=None, max_examples=50)
def test_the_pose_is_that_of_a_head_turned_by_so_much(yaw: float, roll: float):
    found_yaw, found_pitch, found_roll = pose(turned(yaw, roll))
    assert found_yaw == pytest.approx(yaw, abs=1e-3)
    assert found_roll == pytest.approx(roll, abs=1e-3)
    assert found_pitch == pytest.approx(0, abs=1e-6)


def test_sharpness_falls_with_blur_on_a_real_face_at_any_size():
    face = Image.fromarray(data.astronaut()).crop((170, 60, 290, 180))
    for side in (120, 60, 40):
        small = face.resize((side, side)).resize((112, 112), Image.Resampling.BICUBIC)
        blurred = [small.filter(ImageFilter.GaussianBlur(sigma)) for sigma in (0, 1, 2, 4, 8)]
        values = [sharpness(np.asarray(each.convert("L")).astype(np.float32)) for each in blurred]
        assert values == sorted(values, reverse=True)
        assert values[0] > CollectConfig().min_sharpness > values[3]
    assert sharpness(np.full((84, 84), 7.0)) == 0


def boxed(top: int, bottom: int, left: int = 0, right: int = 0, level: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(60, 255, (200, 300, 3), dtype=np.uint8)
    pixels[:top] = level
    pixels[200 - bottom :] = level
    pixels[:, :left] = level
    pixels[:, 300 - right :] = level
    return pixels


def test_letterbox_and_pillarbox_bars_are_found_and_what_is_dark_by_itself_is_not():
    for bars in ((26, 26, 0, 0), (25, 26, 0, 0), (0, 0, 40, 40), (20, 20, 30, 30)):
        top, bottom, left, right = bars
        found = crop_of([bars_of(boxed(*bars, level=14))] * 3, (200, 300))
        assert found is not None
        low_x, low_y, high_x, high_y = found
        assert left <= low_x <= left + 4
        assert top <= low_y <= top + 4
        assert 300 - right - 4 <= high_x <= 300 - right
        assert 200 - bottom - 4 <= high_y <= 200 - bottom
        assert not any(side % 2 for side in (low_x, low_y, high_x - low_x, high_y - low_y))
    # Dark at one side, dark for a moment, and black altogether.
    assert crop_of([bars_of(boxed(50, 0))], (200, 300)) is None
    assert crop_of([bars_of(boxed(26, 26)), bars_of(boxed(0, 0))], (200, 300)) is None
    assert crop_of([bars_of(np.zeros((200, 300, 3), np.uint8))], (200, 300)) is None


def shots_of(pictures: list[np.ndarray], rate: float = 25.0) -> list[tuple[float, float]]:
    finder = ShotFinder(27.0)
    for i, pixels in enumerate(pictures):
        finder.add(i / rate, av.VideoFrame.from_ndarray(pixels, format="rgb24"))
    return [(shot.start_s, shot.end_s) for shot in finder.shots(1 / rate)]


def plain(color: tuple[int, int, int], count: int) -> list[np.ndarray]:
    return [np.full((64, 64, 3), color, dtype=np.uint8)] * count


def test_a_cut_is_where_it_is_to_the_frame():
    found = shots_of(plain((200, 60, 60), 30) + plain((60, 60, 200), 20) + plain((60, 180, 60), 1))
    assert found == [(0, 1.2), (1.2, 2.0), (2.0, 2.04)]


@pytest.mark.parametrize("level", [0, 255])
def test_what_fades_is_in_no_shot(level: int):
    """Out of black (white) and back: the shots keep what is lit, whatever is between them."""
    shot = np.full((64, 64, 3), (150, 100, 60), dtype=np.float32)
    ramp = np.linspace(0, 1, 12)
    rising = [(level + (shot - level) * share).astype(np.uint8) for share in ramp]
    black = plain((level,) * 3, 10)
    lit = [shot.astype(np.uint8)] * 40
    found = shots_of([*rising, *lit, *rising[::-1], *black, *rising, *lit, *rising[::-1], *black])
    assert len(found) == 2
    for (start_s, end_s), first in zip(found, (0, 74), strict=True):
        assert first + 9 <= round(start_s * 25) <= first + 12
        assert first + 52 <= round(end_s * 25) <= first + 55


@given(st.lists(st.floats(0, 50), min_size=8, max_size=8))
def test_overlap_is_of_two_boxes_in_any_order(numbers: list[float]):
    a, b, c, d, e, f, g, h = numbers
    one, other = [a, b, a + c + 1, b + d + 1], [e, f, e + g + 1, f + h + 1]
    assert iou(one, other) == pytest.approx(iou(other, one))
    assert 0 <= iou(one, other) <= 1 + 1e-9
    assert iou(one, one) == pytest.approx(1)


def unit(angle_deg: float, dim: int = 4) -> torch.Tensor:
    angle = math.radians(angle_deg)
    return F.pad(torch.tensor([math.cos(angle), math.sin(angle)]), (0, dim - 2))


def make_track(
    key: str,
    embedding: torch.Tensor,
    *,
    shot: int = 0,
    start_s: float = 0.0,
    looks: Looks = NEUTRAL,
    count: int = 8,
    left: float = 20.0,
    side: float = 120.0,
    moves: float = 4.0,
) -> Track:
    """A face that moves to the right in `count` frames, four a second."""
    shift = torch.arange(count)[:, None] * moves
    box = torch.tensor([left, 20.0, left + side, 20 + side]) + shift * torch.tensor([1.0, 0, 1, 0])
    points = (torch.rand(5, 2, generator=torch.Generator().manual_seed(0)) * side)[None]
    return Track(
        key=key,
        shot=shot,
        start_s=start_s,
        end_s=start_s + count / 4,
        time_s=start_s + torch.arange(count, dtype=torch.float64) / 4,
        box=box,
        landmarks=points + shift[:, None] * torch.tensor([1.0, 0.0]),
        embedding=embedding.expand(count, -1),
        looks=(looks,) * count,
    )


def test_persons_are_grouped_and_two_at_once_never_are():
    a, near, b = unit(0), unit(20), unit(90)
    tracks = [
        make_track("v1#0", a),
        make_track("v1#1", near, shot=1),
        make_track("v2#0", a),
        # The same face twice at the same time: a mirror, or twins.
        make_track("v2#1", near),
        make_track("v3#0", b),
    ]
    means = [track.embedding[0] for track in tracks]
    groups = group_tracks(tracks, means, 0.5)
    of = {i: number for number, group in enumerate(groups) for i in group}
    assert of[0] == of[1]
    assert of[2] != of[3]
    assert {of[0]} & {of[2], of[3]}
    assert of[4] not in {of[0], of[2], of[3]}


@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 5))
@settings(deadline=None, max_examples=25)
def test_clusters_are_the_persons_whatever_their_order(seed: int, persons: int, each: int):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.linalg.qr(torch.randn(64, 64, generator=generator))[0][:persons]
    order = torch.randperm(persons * each, generator=generator)
    noisy = centres.repeat_interleave(each, 0) + 0.05 * torch.randn(
        persons * each, 64, generator=generator
    )
    labels = cluster(F.normalize(noisy[order], dim=1), [], 0.5)
    true = (order // each).tolist()
    assert len(set(zip(true, labels, strict=True))) == persons == len(set(labels))
    assert labels[0] == 0


def test_ids_stay_when_footage_is_added_and_none_is_given_twice(tmp_path: Path):
    a, b, c = unit(0), unit(90), torch.tensor([0.0, 0, 1, 0])
    ids = PersonIds(tmp_path)
    assert ids.name([["x#0"], ["y#0", "y#1"]], [a, b], 0.5) == ["p0001", "p0002"]
    ids.save()
    # New footage before the old: groups come in another order, and one has lost a track.
    ids = PersonIds(tmp_path)
    assert ids.name([["k#0"], ["y#1", "z#3"], ["x#0"]], [c, b, a], 0.5) == [
        *("p0003", "p0002", "p0001"),
    ]
    ids.save()
    # Scanned anew, the tracks have other numbers, and the faces tell.
    ids = PersonIds(tmp_path)
    assert ids.name([["x#7"], ["k#9"], ["y#5"]], [unit(10), c, b], 0.5) == [
        *("p0001", "p0003", "p0002"),
    ]
    ids.save()
    ids = PersonIds(tmp_path)
    assert ids.name([["q#0"]], [torch.tensor([0.0, 0, 0, 1])], 0.5) == ["p0004"]


def test_the_threshold_is_between_the_two_sides_of_the_packs_curve():
    rng = torch.Generator().manual_seed(0)

    def tracks(spread: float, number: int) -> list[Track]:
        made = []
        for i in range(number):
            for person in range(2):
                vectors = torch.zeros(8, 32)
                vectors[:, (2 * i + person) % 32] = 1
                noisy = F.normalize(vectors + spread * torch.randn(8, 32, generator=rng), dim=1)
                made.append(replace(make_track(f"v{i}#{person}", unit(0, 32)), embedding=noisy))
        return made

    good = tracks(0.05, 60)
    found = threshold(good, [range(8)] * len(good))
    assert LOWEST <= found <= HIGHEST
    worse = tracks(0.2, 60)
    assert threshold(worse, [range(8)] * len(worse)) <= found
    few = tracks(0.05, 3)
    assert threshold(few, [range(8)] * len(few)) == DEFAULT


def test_a_reference_is_from_another_shot_and_most_unlike():
    clip = make_track("v#0", unit(0))
    window = Window(footage="v", shot=0, start_s=0, end_s=2, tracks=(clip,))

    def face(shot: int, angle: float = 10, footage: str = "v", **looks) -> Candidate:
        return Candidate(
            embedding=unit(angle),
            looks=replace(NEUTRAL, **looks),
            footage=footage,
            shot=shot,
            time_s=shot,
            box=(0, 0, 9, 9),
        )

    own = face(0, yaw_deg=40, clothes=(0, 0, 0))
    same_looks = face(1)
    turned_only = face(2, yaw_deg=40)
    all_unlike = face(3, yaw_deg=-40, light=(30, 30, 30), clothes=(250, 20, 20))
    other_person = face(4, angle=80, yaw_deg=40, light=(9, 9, 9), clothes=(0, 0, 255))
    gallery = Gallery([own, same_looks, turned_only, all_unlike, other_person])
    assert gallery.choose(window, clip, 0.5, 1) == [all_unlike]
    assert gallery.choose(window, clip, 0.5, 2) == [all_unlike, turned_only]
    assert gallery.choose(window, clip, 0.5, 9) == [all_unlike, turned_only, same_looks]
    assert Gallery([own, other_person]).choose(window, clip, 0.5, 1) == []
    photo = Candidate(embedding=unit(5), photo=Path("anna.jpg"))
    gallery = Gallery([all_unlike], [photo])
    assert gallery.choose(window, clip, 0.5, 2) == [photo, all_unlike]


def make_scan(tracks: list[Track], shots: list[Shot], **changes) -> Scan:
    """What a scan of the tracks would hold, for `find_tracks` and `find_windows`."""
    rows = sorted(
        (float(time_s), number, i)
        for number, track in enumerate(tracks)
        for i, time_s in enumerate(track.time_s)
    )
    numbers = [
        [*list(NEUTRAL.__dict__.values())[:6], *NEUTRAL.light, *NEUTRAL.clothes] for _ in rows
    ]
    facts = {
        "fps": 25.0,
        "height": 400,
        "width": 800,
        "duration_s": shots[-1].end_s,
        "codec": "h264",
        "shots": tuple(shots),
        "keyframes_s": (0.0,),
        "looked_s": torch.arange(0, shots[-1].end_s, 0.25, dtype=torch.float64),
        "time_s": torch.tensor([row[0] for row in rows], dtype=torch.float64),
        "box": torch.stack([tracks[n].box[i] for _, n, i in rows]),
        "landmarks": torch.stack([tracks[n].landmarks[i] for _, n, i in rows]),
        "embedding": torch.stack([tracks[n].embedding[i] for _, n, i in rows]).half(),
        "looks": torch.tensor(numbers),
    }
    return Scan(**(facts | changes))


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


# Files


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
    cut_clip(video, tmp_path / "a" / "clip.mp4", window, cut, scan)
    clip, footage = decode(tmp_path / "a" / "clip.mp4"), decode(video)
    # From 0.8 s, where the keyframe is, to 2.2 s, and what had to come along to show it.
    assert 35 <= len(clip) <= 38
    assert (clip[:35] == footage[20:55]).all()
    cut_clip(video, tmp_path / "b.mp4", window, cut, scan)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "a" / "clip.mp4").read_bytes()


def test_a_turned_phone_video_is_copied_upright(tmp_path: Path):
    video = encode(tmp_path / "v.mp4", moving(75), Fraction(25), rotation=90, g="20")
    scan, window = scan_of(video, (0.8,))
    cut_clip(video, tmp_path / "clip.mp4", window, plan_cut(window, scan), scan)
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
        cut_clip(video, tmp_path / "clip.mp4", window, cut, scan)
        clip, footage = decode(tmp_path / "clip.mp4"), decode(video)[30:55]
        assert len(clip) == 25
        footage = footage if crop is None else footage[:, 8:56]
        assert clip.shape == footage.shape
        assert np.abs(clip.astype(int) - footage).mean() < 4


def test_what_is_decided_by_hand(tmp_path: Path):
    (tmp_path / "persons.txt").write_text(
        "# twins\nmerge p0001 p0007\nmerge p0002 p0001\n"
        "split p0004 clips/take-ab/00001000.mp4 # not her\n"
    )
    (tmp_path / "exclude.txt").write_text("p0009\nclips/take-ab/00005000.mkv\n\n# nothing\n")
    found = read_decisions(tmp_path)
    assert found.person("p0007", frozenset()) == "p0002"
    assert found.person("p0004", frozenset({"take-ab/00001000"})) == "p0004-2"
    assert found.person("p0004", frozenset({"take-ab/00009000"})) == "p0004"
    assert found.excluded == {"p0009", "take-ab/00005000"}
    for text, words in (
        ("join a b", "line 1 of"),
        ("merge a", "needs `merge ID ID"),
        ("merge a b\nmerge b a", "in a circle"),
        ("merge a a", "in a circle"),
    ):
        (tmp_path / "persons.txt").write_text(text)
        with pytest.raises(ValueError, match=words):
            read_decisions(tmp_path)


def test_prepare_heeds_what_was_excluded(tmp_path: Path):
    lines = [
        {"video": f"clips/a/{i}.mp4", "caption": "a person walks", "identity": f"p{i % 2}"}
        for i in range(6)
    ]
    lines.append({"video": "clips/b.mp4", "caption": "two talk", "persons": ["p0", "p5"]})
    path = write_json_lines(tmp_path / "manifest.jsonl", lines)
    assert len(read_sources(path, window_s=1)) == 7
    (tmp_path / "exclude.txt").write_text("p1\nclips/a/2.mp4\n")
    ids = [entry.id for entry in read_sources(path, window_s=1)]
    assert ids == ["clips/a/0.mp4@0", "clips/a/4.mp4@0", "clips/b.mp4@0"]
    (tmp_path / "exclude.txt").write_text("p1\np5\n")
    assert len(read_sources(path, window_s=1)) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_frames", 24),
        ("num_frames", 1),
        ("fps", 0),
        ("fps", float("nan")),
        ("num_persons", 0),
        ("min_face_px", 3),
        ("min_sharpness", 1.5),
        ("max_burnt", -0.1),
        ("max_yaw_deg", 120),
        ("min_motion", -1),
        ("shot_threshold", 0),
        ("sample_fps", 0),
        ("same_person", 2),
        ("min_reference_cosine", -2),
        ("num_references", 0),
        ("jobs", 0),
        ("rank", 1),
    ],
)
def test_an_option_out_of_range_is_named(name: str, value: float):
    with pytest.raises(ValueError, match=f"{name} was {value}.*; needs .*\\."):
        CollectConfig(**{name: value})
