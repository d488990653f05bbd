"""A mask beside photos: the same pixels as a photo with that alpha, and masks that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stdrc_core.method.reference import fit_reference, with_transparency

RED = (1.0, 0.0, 0.0)


def photos(num: int, height: int = 6, width: int = 5, channels: int = 3) -> Tensor:
    return torch.rand((num, height, width, channels), generator=torch.Generator().manual_seed(1))


def over_red(photo: Tensor) -> Tensor:
    return fit_reference(photo, *photo.shape[1:3], pad_color=RED)


def test_a_mask_is_pillows_alpha_at_every_level():
    """All 256 levels of alpha, over red by Pillow in 8 bits."""
    rgb = np.random.default_rng(2).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    alpha = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.dstack((rgb, alpha)))
    opaque = Image.alpha_composite(Image.new("RGBA", image.size, "red"), image).convert("RGB")
    mask = 1 - torch.from_numpy(alpha.astype(np.float32)) / 255
    photo = torch.from_numpy(rgb.astype(np.float32) / 255)[None]
    got = over_red(with_transparency(photo, mask[None]))
    expected = torch.from_numpy(np.asarray(opaque).astype(np.float32) / 255)[None]
    assert (got - expected).abs().max() <= 1.01 / 255


@pytest.mark.parametrize("shape", [(64, 64), (1, 64, 64), (3, 64, 64), (1, 6, 5)])
def test_a_mask_of_zeros_of_any_size_changes_nothing(shape: tuple[int, ...]):
    for channels in (1, 2, 3, 4):
        batch = photos(2, channels=channels)
        assert with_transparency(batch, torch.zeros(shape)) is batch
    assert with_transparency(batch, None) is batch


def test_one_mask_for_all_photos_or_one_for_each():
    batch, masks = photos(3), photos(3, channels=1)[..., 0]
    each = with_transparency(batch, masks)
    assert each.shape == (3, 6, 5, 4)
    for i in range(3):
        assert torch.equal(each[i : i + 1], with_transparency(batch[i : i + 1], masks[i]))
    for one in (masks[0], masks[:1]):
        assert torch.equal(with_transparency(batch, one)[..., 3], (1 - masks[:1]).expand(3, -1, -1))


def test_the_same_alpha_twice_counts_once_and_a_drawn_mask_beside_it_too():
    rgba = photos(1, channels=4)
    twice = with_transparency(rgba, 1 - rgba[..., 3])
    assert torch.allclose(over_red(twice), over_red(rgba), atol=1e-6)
    drawn = torch.zeros(1, 6, 5)
    drawn[:, :2] = 1
    both = over_red(with_transparency(rgba, drawn))
    assert torch.allclose(both[:, :2], torch.tensor(RED).expand(1, 2, 5, 3), atol=1e-6)
    assert torch.allclose(both[:, 2:], over_red(rgba)[:, 2:], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
def test_grey_photos_take_a_mask(channels: int):
    grey, mask = photos(1, channels=channels), photos(1, channels=1)[..., 0]
    got = with_transparency(grey, mask)
    assert torch.equal(got[..., :3], grey[..., :1].expand(-1, -1, -1, 3))
    alpha = 1 - mask if channels == 1 else torch.minimum(1 - mask, grey[..., 1])
    assert torch.equal(got[..., 3], alpha)


BAD = {
    "another size": (torch.ones(1, 5, 6), "5 x 6 pixels .height x width., image is 6 x 5"),
    "another number": (torch.ones(3, 6, 5), r"shape \[3, 6, 5\], image is a batch of 2"),
    "an image": (torch.ones(1, 6, 5, 3), r"shape \[1, 6, 5, 3\]"),
    "beyond 1": (torch.full((6, 5), 255.0), "from 255 to 255"),
    "below 0": (torch.full((6, 5), -0.5), "from -0.5"),
    "nan": (torch.full((6, 5), float("nan")), "from nan"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mask_that_does_not_fit_is_refused_in_one_sentence(case: str):
    mask, part = BAD[case]
    with pytest.raises(ValueError, match=part) as raised:
        with_transparency(photos(2), mask)
    message = str(raised.value)
    assert message.startswith("mask ") and message.endswith(".") and ". " not in message
