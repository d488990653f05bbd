"""The drawn world: identities, scenes, and what of them is to be seen in the pixels."""

from __future__ import annotations

import random
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stdrc_core.mini import scene as scenes
from stdrc_core.mini.character import (
    NUM_IDENTITIES,
    draw_numbers,
    identity,
    is_unseen,
)
from stdrc_core.mini.drawing import (
    NUM_FRAMES,
    PORTRAIT_SIZE,
    PORTRAIT_Y,
    SIDE_PX,
    draw_clip,
    draw_empty,
    draw_photo,
)
from stdrc_core.mini.scene import (
    ATTRIBUTES,
    CLIP_FREEDOM,
    MOTIONS,
    PHOTO_FREEDOM,
    PLACES,
    SHOTS,
    Scene,
    draw_scene,
)

numbers = st.integers(0, NUM_IDENTITIES - 1)
seeds = st.integers(0, 2**32)
SCENE = Scene(
    background="blue",
    pattern="plain",
    clothes_color="red",
    clothes="shirt",
    light="bright",
    place="middle",
    shot="near",
    motion="stays still",
)


SCENE_OF_PHOTO = replace(SCENE, background="green", place="left", shot="far")


@given(first=numbers, second=numbers)
def test_there_are_enough_persons_and_no_two_numbers_are_one(first: int, second: int):
    assert NUM_IDENTITIES >= 10**6
    assert (astuple(identity(first)) == astuple(identity(second))) == (first == second)


@pytest.mark.parametrize("number", [-1, NUM_IDENTITIES])
def test_a_number_beyond_the_last_is_refused(number: int):
    with pytest.raises(ValueError, match=f"identity was {number}; needs a number from 0"):
        identity(number)


def test_persons_in_training_and_unseen_ones_have_nobody_in_common():
    seen = draw_numbers(300, random.Random(0), unseen=False)
    unseen = draw_numbers(300, random.Random(0), unseen=True)
    assert len({*seen, *unseen}) == 600
    assert all(map(is_unseen, unseen)) and not any(map(is_unseen, seen))
    # One in ten, and not by an attribute: of the unseen all skins are there.
    share = sum(map(is_unseen, range(10_000))) / 10_000
    assert share == pytest.approx(0.1, abs=0.015)
    assert len({identity(number).skin for number in unseen}) == 8


@given(seed=seeds)
def test_a_caption_tells_all_that_a_scene_is(seed: int):
    rng = random.Random(seed)
    scene = draw_scene(rng)
    assert all(str(getattr(scene, name)) in scene.caption for name in ATTRIBUTES)
    for name, values in ATTRIBUTES.items():
        other = replace(scene, **{name: next(v for v in values if v != getattr(scene, name))})
        assert other.caption != scene.caption
    unlike = draw_scene(rng, unlike=scene)
    assert all(getattr(unlike, name) != getattr(scene, name) for name in ATTRIBUTES)


@given(seed=seeds)
def test_a_clip_is_what_its_caption_tells_within_a_pixel(seed: int):
    photo, clip = (
        draw_scene(random.Random(seed), freedom=freedom)
        for freedom in (PHOTO_FREEDOM, CLIP_FREEDOM)
    )
    assert clip.caption == photo.caption
    assert max(map(abs, clip.shift)) * SIDE_PX < 1
    ratio = CLIP_FREEDOM / PHOTO_FREEDOM
    assert np.allclose([*clip.shift, *clip.pose], np.multiply([*photo.shift, *photo.pose], ratio))


@settings(deadline=None, max_examples=20)
@given(number=numbers, seed=seeds)
def test_skin_and_wall_have_the_colours_that_identity_and_scene_name(number: int, seed: int):
    """Read off where neither hair nor beard can be: the neck, and a corner of a plain wall."""
    scene = replace(draw_scene(random.Random(seed)), pattern="plain", motion="stays still")
    # Long hair and lifted shoulders apart: the middle of the neck, just below the chin.
    pixels = draw_clip(identity(number), scene, num_frames=1).pixels[0]
    size = scenes.SHOTS[scene.shot] * SIDE_PX
    x = round((scenes.PLACES[scene.place] + scene.shift[0]) * SIDE_PX)
    y = round((0.44 + scene.shift[1]) * SIDE_PX + 1.17 * size)
    light = np.array(scenes.LIGHTS[scene.light])
    neck = np.array(identity(number).skin) * 0.84 * light
    assert np.abs(pixels[y, x] - neck).max() <= 2
    corner = np.array(scenes.COLORS[scene.background]) * light
    column = 0 if scene.place == "right" else -1
    assert np.abs(pixels[0, column] - corner).max() <= 2


@settings(deadline=None, max_examples=10)
@given(number=numbers, place=st.sampled_from(sorted(PLACES)), shot=st.sampled_from(sorted(SHOTS)))
def test_a_photo_is_a_portrait_wherever_the_scene_has_the_person(
    number: int, place: str, shot: str
):
    scene = replace(SCENE, background="green", place=place, shot=shot)
    photo = draw_photo(identity(number), scene)
    assert np.array_equal(photo, draw_photo(identity(number), SCENE_OF_PHOTO))
    # The head's half-height as far as chin and neck go: no green from the middle down to the chin.
    x, chin = SIDE_PX // 2, round((PORTRAIT_Y + PORTRAIT_SIZE) * SIDE_PX)
    wall = np.array(scenes.COLORS["green"])
    column = np.abs(photo[round(PORTRAIT_Y * SIDE_PX) : chin, x].astype(int) - wall).max(axis=1)
    assert column.min() > 10
    assert max(SHOTS.values()) < PORTRAIT_SIZE


@settings(deadline=None, max_examples=15)
@given(number=numbers, seed=seeds)
def test_landmarks_and_box_follow_the_face(number: int, seed: int):
    scene = draw_scene(random.Random(seed))
    drawn = draw_clip(identity(number), scene)
    assert drawn.pixels.shape == (NUM_FRAMES, SIDE_PX, SIDE_PX, 3)
    left, top, right, bottom = drawn.boxes.T
    assert (left < right).all() and (top < bottom).all()
    x, y = drawn.landmarks[..., 0], drawn.landmarks[..., 1]
    assert (x > left[:, None]).all() and (x < right[:, None]).all()
    assert (y > top[:, None]).all() and (y < bottom[:, None]).all()
    # Left eye left of the right one, eyes above the mouth.
    assert (x[:, 0] < x[:, 1]).all() and (x[:, 3] < x[:, 4]).all()
    assert (y[:, :2].mean(axis=1) < y[:, 3:].mean(axis=1)).all()


@pytest.mark.parametrize("motion", MOTIONS)
def test_each_motion_shows_as_what_it_is_called(motion: str):
    drawn = draw_clip(identity(12345), replace(SCENE, motion=motion))
    eyes = drawn.landmarks[:, :2].mean(axis=1)
    nose_x = drawn.landmarks[:, 2, 0] - eyes[:, 0]
    slope = drawn.landmarks[:, 1, 1] - drawn.landmarks[:, 0, 1]
    width = drawn.boxes[:, 2] - drawn.boxes[:, 0]
    middle = (drawn.boxes[:, 0] + drawn.boxes[:, 2]) / 2
    moves = {
        "turns left": nose_x[-1] < nose_x[0] - 2,
        "turns right": nose_x[-1] > nose_x[0] + 2,
        "nods slowly": np.ptp(eyes[:, 1]) > 2,
        "tilts sideways": np.ptp(slope) > 2,
        "walks right": middle[-1] > middle[0] + 10,
        "comes closer": width[-1] > width[0] * 1.1,
        "speaks up": (drawn.pixels[0] != drawn.pixels[4]).any(),
        "stays still": (drawn.pixels == drawn.pixels[0]).all(),
    }
    assert moves[motion]
    # The others stay: a motion is one thing.
    assert (motion == "walks right") or abs(middle[-1] - middle[0]) < 5


def test_light_dims_the_whole_picture_and_an_empty_scene_is_its_wall():
    bright, dim = (draw_empty(replace(SCENE, light=light)) for light in ("bright", "dim"))
    ratio = dim.astype(float).mean(axis=(0, 1)) / bright.mean(axis=(0, 1))
    assert ratio == pytest.approx(scenes.LIGHTS["dim"], abs=0.02)
    assert len(np.unique(bright.reshape(-1, 3), axis=0)) == 1
