"""Several photos of a person: the mean and the nearest by closed forms, and photos of strangers."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.found_faces import embedded_face
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.faces.gallery import GalleryRule, check_one_person, gallery_embedding
from stdrc_core.faces.similarity import cosine_with, cosines, other_cosines

seeds = st.integers(0, 1000)


def unit(angle_deg: float) -> Tensor:
    angle = math.radians(angle_deg)
    return torch.tensor([math.cos(angle), math.sin(angle), 0.0])


def random_units(count: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(count, 16, generator=torch.Generator().manual_seed(seed)), dim=1)


@given(seeds)
def test_one_photo_is_the_published_protocol_bit_for_bit(seed: int):
    photo, face = random_units(2, seed)
    for rule in GalleryRule:
        assert cosine_with(face, gallery_embedding([photo], rule)) == float(face @ photo)


@given(seeds, st.integers(2, 4))
def test_the_mean_and_the_nearest_of_several(seed: int, num_photos: int):
    *photos, face = random_units(num_photos + 1, seed)
    apart = [float(face @ photo) for photo in photos]
    mean = gallery_embedding(photos, GalleryRule.MEAN)
    length = float(sum(photos).norm())
    assert cosine_with(face, mean) == pytest.approx(sum(apart) / length, abs=1e-5)
    nearest = gallery_embedding(photos, GalleryRule.NEAREST)
    assert cosine_with(face, nearest) == pytest.approx(max(apart), abs=1e-6)


def test_each_face_of_a_frame_has_its_own_nearest_photo():
    e_ref = gallery_embedding([unit(0), unit(90)], GalleryRule.NEAREST)
    large = embedded_face(unit(10).tolist(), (0, 0, 9, 9))
    small = embedded_face(unit(60).tolist(), (0, 0, 3, 3))
    assert cosines([large, None, small], e_ref) == [
        pytest.approx(math.cos(math.radians(10)), abs=1e-6),
        None,
        pytest.approx(math.cos(math.radians(30)), abs=1e-6),
    ]
    ((other,),) = other_cosines([(large, small)], e_ref)
    assert other == pytest.approx(math.cos(math.radians(30)), abs=1e-6)


def test_photos_of_two_persons_are_named_with_their_cosine():
    names = ["a.png", "b.png", "c.png", "d.png"]
    with pytest.raises(ValueError, match=r"b.png and d.png seem .* cosine is 0.05; needs photos"):
        check_one_person([unit(0), unit(60), unit(30), unit(147)], names)
    with pytest.raises(ValueError, match=r"a.png and b.png seem .* cosine is -0.17"):
        check_one_person([unit(0), unit(100)], names)


def test_photos_that_may_be_of_two_persons_are_told(caplog: pytest.LogCaptureFixture):
    check_one_person([unit(0), unit(60), unit(141)], ["a.png", "b.png", "c.png"])
    (said,) = caplog.messages
    assert said.startswith("b.png and c.png may show two persons, as their faces' cosine is 0.16")


def test_photos_of_one_person_need_not_all_be_alike():
    """Each is like another one; the ends of the row are not."""
    check_one_person([unit(0), unit(140), unit(70)], ["a", "b", "c"])
    check_one_person([unit(0)], ["a"])
