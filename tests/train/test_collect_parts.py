"""Shots, bars, looks and options of `collect`, each against a closed form or a property."""

from __future__ import annotations

import math

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from skimage import data

from stdrc_core.train.collect.face_looks import pose, sharpness
from stdrc_core.train.collect.letterbox import bars_of, crop_of
from stdrc_core.train.collect.options import CollectConfig
from stdrc_core.train.collect.overlap import iou, ious
from stdrc_core.train.collect.shots import ShotFinder

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
        assert left <= low_x <= left + 6
        assert top <= low_y <= top + 6
        assert 300 - right - 6 <= high_x <= 300 - right
        assert 200 - bottom - 6 <= high_y <= 200 - bottom
        assert not any(side % 2 for side in (low_x, low_y, high_x - low_x, high_y - low_y))
    # A codec smears the picture into the bar in a frame now and then.
    sharp, smeared = bars_of(boxed(26, 26, level=14)), bars_of(boxed(18, 26, level=14))
    assert crop_of([sharp] * 5 + [smeared], (200, 300)) == crop_of([sharp], (200, 300))
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


def test_a_broadcast_that_changes_its_size_is_cut_there():
    wide = [np.full((48, 96, 3), (60, 60, 200), dtype=np.uint8)] * 20
    found = shots_of(plain((200, 60, 60), 30) + wide + plain((60, 60, 200), 5))
    assert found == [(0, 1.2), (1.2, 2.2)]


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
    pairs = (torch.tensor(boxes, dtype=torch.float64) for boxes in ([one, one], [other, one]))
    assert ious(*pairs).tolist() == pytest.approx([iou(one, other), 1])


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
