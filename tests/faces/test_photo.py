"""One face of a photo: the choice, the crop, and what would be a better photo."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers.found_faces import found_face
from helpers.real_photo import LANDMARKS_PX, astronaut
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from torch import Tensor

from stdrc_core.faces.align import arcface_template
from stdrc_core.faces.detector import Face
from stdrc_core.faces.photo import (
    Choice,
    advise,
    choose_face,
    crop_box,
    face_mask,
    left_to_right,
    pose,
    sharpness,
)

# The five points on a head, in mm from the nose's tip: x to the right, y down, z to the camera.
HEAD_MM = np.array([[-32, -35, -25], [32, -35, -25], [0, 0, 0], [-27, 28, -18], [27, 28, -18]])


def face_at(left: float, top: float, right: float, bottom: float, points: Tensor | None = None):
    box = torch.tensor([left, top, right, bottom])
    if points is None:
        points = arcface_template().float() / 112 * (box[2:] - box[:2]) + box[:2]
    return found_face(box.tolist(), points, score=0.9)


def turned(*, yaw: float = 0, pitch: float = 0, roll: float = 0) -> Tensor:
    """The head's points as a camera far away sees them, in pixels; angles in degrees."""
    points = HEAD_MM
    for angle, (one, other) in ((yaw, (0, 2)), (pitch, (1, 2)), (roll, (0, 1))):
        turn = np.eye(3)
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        turn[[one, other], [one, other]] = cos
        turn[one, other], turn[other, one] = -sin, sin
        points = points @ turn.T
    return torch.from_numpy(points[:, :2] * 2 + 150)


LEFT, MIDDLE, RIGHT = (
    face_at(10, 10, 40, 50),
    face_at(90, 60, 110, 80),
    face_at(150, 5, 190, 60),
)


def test_the_face_that_is_meant():
    faces = [RIGHT, LEFT, MIDDLE]
    assert choose_face(faces, Choice.LARGEST, 140, 200) is RIGHT
    assert choose_face(faces, Choice.MOST_CENTRAL, 140, 200) is MIDDLE
    assert choose_face(faces, Choice.MOST_CENTRAL, 40, 60) is LEFT
    assert [choose_face(faces, Choice.INDEX, 140, 200, i) for i in range(3)] == [
        LEFT,
        MIDDLE,
        RIGHT,
    ]
    assert left_to_right(faces) == [LEFT, MIDDLE, RIGHT]
    with pytest.raises(ValueError, match=r"^index was 3, but the photo shows 3 .*needs 0 to 2"):
        choose_face(faces, Choice.INDEX, 140, 200, 3)


def test_the_crop_is_the_box_and_its_margin():
    face = face_at(100, 200, 140, 280)
    assert crop_box(face, 0.0, 600, 400) == (100, 200, 140, 280)
    assert crop_box(face, 0.5, 600, 400) == (60, 160, 180, 320)
    assert crop_box(face, 2.0, 300, 400) == (0, 40, 300, 300)


sides = st.integers(1, 80)
places = st.floats(-60, 140, allow_nan=False)


@given(sides, sides, places, places, places, places, st.floats(0, 10))
def test_every_crop_is_in_the_photo_and_holds_what_is_there_of_the_face(
    height: int, width: int, x: float, y: float, x2: float, y2: float, margin: float
):
    face = face_at(min(x, x2), min(y, y2), max(x, x2), max(y, y2), torch.zeros(5, 2))
    left, top, right, bottom = crop_box(face, margin, height, width)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    for low, high, start, stop, size in (
        (face.box[0], face.box[2], left, right, width),
        (face.box[1], face.box[3], top, bottom, height),
    ):
        if high > 0 and low < size:
            assert start <= max(low, 0) and stop >= min(high, size)
    mask = face_mask(face, height, width)
    assert mask.shape == (height, width)
    assert mask.sum() >= 1
    # The crop holds all of the mask.
    assert mask[top:bottom, left:right].sum() == mask.sum()


def test_the_mask_is_one_in_the_box():
    mask = face_mask(face_at(2, 3, 6, 8), 10, 12)
    expected = torch.zeros(10, 12)
    expected[3:8, 2:6] = 1
    assert torch.equal(mask, expected)


@pytest.mark.parametrize("angle", [-20, 0, 20])
def test_a_face_about_from_the_front_is_fine(angle: float):
    for points in (turned(yaw=angle), turned(pitch=angle / 2), turned(roll=angle)):
        assert advise_points(points) == []


@pytest.mark.parametrize("angle", [-75, -55, 55, 75])
def test_a_face_turned_far_is_told(angle: float):
    (told,) = advise_points(turned(yaw=angle))
    assert "turned far to the side" in told
    (told,) = advise_points(turned(pitch=angle))
    assert "turned far up or down" in told


@pytest.mark.parametrize("angle", [-90, -45, 45, 80])
def test_a_tilted_head_is_told_by_its_angle(angle: float):
    (told,) = advise_points(turned(roll=angle))
    assert f"tilted by {abs(angle):.0f} degrees" in told


def test_pose_does_not_depend_on_place_size_or_tilt():
    points = turned(yaw=25, pitch=10)
    yaw, pitch, _ = pose(points)
    for other in (points * 3 - 40, turned(yaw=25, pitch=10, roll=30)):
        assert pose(other)[:2] == pytest.approx((yaw, pitch), abs=1e-3)
    assert pose(torch.zeros(5, 2)) == (math.inf, math.inf, 0.0)


def advise_points(points: Tensor) -> list[str]:
    """Of a large, sharp face with these landmarks."""
    photo = torch.randint(0, 256, (400, 400, 3), generator=torch.Generator().manual_seed(0))
    return advise(photo.to(torch.uint8), face_at(60, 40, 250, 280, points), [])


def astronaut_face() -> tuple[Image.Image, Face]:
    """Of the real photo, twice its size: a face wider than 112 pixels."""
    image = Image.fromarray(astronaut()).resize((1024, 1024), Image.Resampling.LANCZOS)
    points = torch.tensor(LANDMARKS_PX) * 2
    return image, face_at(360, 140, 544, 360, points)


def test_a_good_photo_needs_nothing():
    image, face = astronaut_face()
    photo = torch.from_numpy(np.array(image))
    assert advise(photo, face, []) == []
    assert advise(photo, face, [face_at(0, 0, 30, 30)]) == []


def test_a_blurred_face_is_told_and_a_blurred_background_is_not():
    image, face = astronaut_face()
    blurred = image.filter(ImageFilter.GaussianBlur(7))
    (told,) = advise(torch.from_numpy(np.array(blurred)), face, [])
    assert "blurred" in told
    box = tuple(int(side) for side in face.box.tolist())
    blurred.paste(image.crop(box), box[:2])
    assert advise(torch.from_numpy(np.array(blurred)), face, []) == []


def test_sharpness_falls_with_blur_and_leaves_out_contrast():
    image, face = astronaut_face()
    values = [
        sharpness(torch.from_numpy(np.array(image.filter(ImageFilter.GaussianBlur(s)))), face)
        for s in (0, 1, 2, 4, 8, 16)
    ]
    assert values == sorted(values, reverse=True)
    dim = torch.from_numpy(np.array(image)) // 2
    assert sharpness(dim, face) == pytest.approx(values[0], rel=0.05)
    assert sharpness(torch.full((400, 600, 3), 90, dtype=torch.uint8), face) == 0.0


def test_a_small_face_other_faces_and_an_edge_are_told():
    image, face = astronaut_face()
    photo = torch.from_numpy(np.array(image))
    small = Image.fromarray(astronaut()).resize((256, 256), Image.Resampling.BOX)
    points = torch.tensor(LANDMARKS_PX) / 2
    (told,) = advise(torch.from_numpy(np.array(small)), face_at(90, 35, 136, 90, points), [])
    assert "small, 46 x 55 pixels" in told
    (told,) = advise(photo, face, [face_at(600, 140, 784, 360), face_at(0, 0, 20, 20)])
    assert "shows 2 faces" in told
    (told,) = advise(photo[:, 400:], face_at(-40, 140, 144, 360, face.landmarks), [])
    assert "cut off" in told
