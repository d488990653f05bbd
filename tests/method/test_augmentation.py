"""Reference augmentation against Pillow, and what its draws promise (Eq. 5)."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from helpers.real_photo import astronaut
from PIL import Image, ImageEnhance
from torch import Tensor

from stdrc_core.method.augmentation import Augmentation, crop, jitter_color, rotate

NONE = Augmentation(p_flip=0, p_rotate=0, p_crop=0, p_color=0)


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """A real photo, `[1, 96, 128, 3]` in [0, 1]."""
    image = Image.fromarray(astronaut()).resize((128, 96))
    return as_tensor(image)


def as_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255)[None]


def as_image(photo: Tensor) -> Image.Image:
    return Image.fromarray((photo[0].numpy() * 255).round().astype(np.uint8))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("angle", [-10.0, 3.0, 25.0])
def test_rotation_is_pillows_inside_the_frame(photo: Tensor, angle: float):
    ours = rotate(photo, angle)
    pillow = as_tensor(as_image(photo).rotate(angle, resample=Image.Resampling.BILINEAR))
    inside = (slice(None), slice(34, 62), slice(34, 94))
    assert (ours - pillow)[inside].abs().max() < 2.5 / 255
    assert (photo - pillow)[inside].abs().max() > 0.2


def test_rotation_leaves_no_black_corners(photo: Tensor):
    white = torch.ones_like(photo)
    torch.testing.assert_close(rotate(white, 10.0), white)


@pytest.mark.parametrize("box", [(1.0, 0.0, 0.0), (0.85, 0.1, 0.05), (0.5, 0.5, 0.0)])
def test_crop_is_pillows_resize_of_the_window(photo: Tensor, box: tuple[float, float, float]):
    share, left, top = box
    window = (left * 128, top * 96, (left + share) * 128, (top + share) * 96)
    pillow = as_image(photo).resize((128, 96), Image.Resampling.BILINEAR, box=window)
    inside = (slice(None), slice(2, -2), slice(2, -2))
    assert (crop(photo, *box) - as_tensor(pillow))[inside].abs().max() < 2 / 255


@pytest.mark.parametrize(
    ("factors", "enhancer"),
    [
        ((0.85, 1.0, 1.0), lambda image: ImageEnhance.Brightness(image).enhance(0.85)),
        ((1.0, 1.15, 1.0), lambda image: ImageEnhance.Contrast(image).enhance(1.15)),
        ((1.0, 1.0, 0.8), lambda image: ImageEnhance.Color(image).enhance(0.8)),
    ],
)
def test_color_jitter_is_pillows_enhancers(photo: Tensor, factors, enhancer):
    pillow = as_tensor(enhancer(as_image(photo)))
    assert (jitter_color(photo, *factors) - pillow).abs().max() < 2 / 255
    assert (photo - pillow).abs().max() > 5 / 255


def test_without_any_transform_the_photo_comes_back_as_a_copy(photo: Tensor):
    before = photo.clone()
    result = NONE(photo, generator(0))
    assert torch.equal(result, photo)
    result.zero_()
    assert torch.equal(photo, before)


@pytest.mark.parametrize("name", ["p_flip", "p_rotate", "p_crop", "p_color"])
def test_each_transform_has_a_probability_of_its_own(photo: Tensor, name: str):
    alone = {f.name: 0.0 for f in fields(Augmentation) if f.name.startswith("p_")} | {name: 0.3}
    augment = Augmentation(**alone)
    shared = generator(0)
    changed = sum(not torch.equal(augment(photo, shared), photo) for _ in range(400))
    # 0.3 of 400, give or take four standard deviations.
    assert abs(changed - 120) < 37


def test_draws_of_one_transform_do_not_depend_on_another(photo: Tensor):
    """The same seed crops the same window whether or not the photo is flipped first."""
    only_crop = Augmentation(p_flip=0, p_rotate=0, p_crop=1, p_color=0)
    both = Augmentation(p_flip=1, p_rotate=0, p_crop=1, p_color=0)
    assert torch.equal(
        both(photo, generator(4)), only_crop(photo.flip(2).contiguous(), generator(4))
    )


def test_results_stay_pictures_and_follow_the_seed(photo: Tensor):
    augment = Augmentation(p_flip=0.5, p_rotate=1, p_crop=1, p_color=1, max_color=0.9)
    results = [augment(photo, generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    for result in results:
        assert result.shape == photo.shape
        assert result.min() >= 0
        assert result.max() <= 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("p_flip", -0.1),
        ("p_color", 1.1),
        ("max_rotation_deg", 90.0),
        ("min_crop", 0.0),
        ("max_color", float("nan")),
    ],
)
def test_values_out_of_range_are_refused_by_name(field: str, value: float):
    with pytest.raises(ValueError, match=rf"^{field} was {value}; it needs to be from"):
        Augmentation(**{field: value})
