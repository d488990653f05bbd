"""Photos with an ICC profile, as phones, cameras, scanners and print shops save them.

The profiles and the signals are computed by `helpers.icc_profiles`, by other code than LittleCMS.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.icc_profiles import (
    ADOBE_RGB,
    APPLE_RGB,
    BT2020,
    DISPLAY_P3,
    PROPHOTO,
    SRGB,
    Space,
    cmyk_profile,
    grey_profile,
    rgb_profile,
)
from PIL import Image, ImageCms

from stdrc_core.photo_file import load_opaque_photo, load_photo

SKIN = np.array([224, 172, 105]) / 255
COLORS = [SKIN, np.array([60, 90, 160]) / 255, np.array([90, 140, 70]) / 255, np.full(3, 0.5)]
SPACES = {
    "Display P3 of a phone": DISPLAY_P3,
    "Adobe RGB of a camera": ADOBE_RGB,
    "ProPhoto of a raw developer": PROPHOTO,
    "Apple RGB of an old screen": APPLE_RGB,
    "BT.2020 of a television": BT2020,
}


def solid(color: np.ndarray, mode: str = "RGB") -> Image.Image:
    levels = tuple(round(float(level) * 255) for level in color)
    return Image.new(mode, (16, 8), levels + (128,) * (len(mode) - 3))


def shown(path: Path) -> np.ndarray:
    return load_photo(path)[0, 4, 8].numpy() * 255


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("name", SPACES)
def test_a_colour_is_srgbs_whatever_space_the_file_has(tmp_path: Path, name: str, suffix: str):
    space, options = SPACES[name], {".jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    if suffix == ".webp":
        options = {"lossless": True}
    for color in COLORS:
        path = tmp_path / f"photo{suffix}"
        solid(space.of_srgb(color)).save(path, icc_profile=rgb_profile(space), **options)
        within = 3 if suffix == ".jpg" or space is PROPHOTO else 2
        np.testing.assert_allclose(shown(path), color * 255, atol=within)


@pytest.mark.parametrize("made_by", ["this test", "LittleCMS"])
def test_srgbs_own_profile_leaves_every_pixel_as_it_is(tmp_path: Path, made_by: str):
    profile = rgb_profile(SRGB)
    if made_by == "LittleCMS":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.random.default_rng(5).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    plain, tagged = tmp_path / "plain.png", tmp_path / "tagged.png"
    Image.fromarray(pixels).save(plain)
    Image.fromarray(pixels).save(tagged, icc_profile=profile)
    assert torch.equal(load_photo(plain), load_photo(tagged))


def test_alpha_is_kept_beside_the_profile(tmp_path: Path):
    path = tmp_path / "cutout.png"
    image = solid(DISPLAY_P3.of_srgb(SKIN), "RGBA")
    image.save(path, icc_profile=rgb_profile(DISPLAY_P3))
    np.testing.assert_allclose(shown(path), [*SKIN * 255, 128], atol=2)
    np.testing.assert_allclose(load_opaque_photo(path)[0, 4, 8].numpy() * 255, SKIN * 128, atol=2)


def test_a_palette_with_a_transparent_colour_and_a_profile(tmp_path: Path):
    image = Image.new("P", (4, 2), 1)
    levels = [round(float(level) * 255) for level in ADOBE_RGB.of_srgb(SKIN)]
    image.putpalette([0, 0, 0, *levels])
    image.putpixel((0, 0), 0)
    path = tmp_path / "drawing.png"
    image.save(path, icc_profile=rgb_profile(ADOBE_RGB), transparency=0)
    photo = load_photo(path)[0] * 255
    np.testing.assert_allclose(photo[1, 3].numpy(), [*SKIN * 255, 255], atol=2)
    assert photo[0, 0, 3] == 0


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.6])
@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_by_the_gamma_of_its_profile(tmp_path: Path, gamma: float, mode: str):
    path = tmp_path / "scan.png"
    image = Image.new(mode, (16, 8), (100, 200) if mode == "LA" else 100)
    image.save(path, icc_profile=grey_profile(gamma))
    expected = 255 * SRGB.signal(np.array((100 / 255) ** gamma))
    np.testing.assert_allclose(shown(path)[:3], [expected] * 3, atol=2)
    assert mode == "L" or shown(path)[3] == 200


def test_16_bit_grey_keeps_its_depth_beside_a_profile(tmp_path: Path):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    path = tmp_path / "scan.tif"
    Image.fromarray(values).save(path, icc_profile=grey_profile(1.8))
    photo = load_photo(path)[0, ..., 0].numpy()
    expected = SRGB.signal((values / 65535) ** 1.8)
    assert np.abs(photo - expected)[values > 2000].max() < 2 / 255
    assert len(np.unique(photo)) > 30_000


@pytest.mark.parametrize("paper", [95.0, 80.0])
def test_ink_on_paper_by_the_profile_of_the_press(tmp_path: Path, paper: float):
    """The bare paper is white; grey ink has the lightness that the press gives it."""
    path, levels = tmp_path / "print.jpg", []
    for black in (0, 60, 90, 180):
        Image.new("CMYK", (16, 8), (0, 0, 0, black)).save(
            path, quality=100, icc_profile=cmyk_profile(paper)
        )
        pixel = shown(path)
        assert pixel.max() - pixel.min() <= 4, "grey ink is grey"
        levels.append(pixel[1])
        lightness = paper * (1 - black / 255)
        if not black:
            assert pixel.min() == 255
            continue
        y = ((lightness + 16) / 116) ** 3 if lightness > 8 else lightness / 903.3
        expected = 255 * SRGB.signal(np.array(y))
        assert pixel[1] == pytest.approx(expected, abs=6)
    assert levels == sorted(levels, reverse=True)
    Image.new("CMYK", (16, 8), (0, 120, 120, 20)).save(
        path, quality=100, icc_profile=cmyk_profile(paper)
    )
    red, green, blue = shown(path)
    assert red > green + 20 and red > blue + 20, "magenta and yellow are red"


def test_grey_with_a_profile_of_rgb(tmp_path: Path):
    path = tmp_path / "grey.jpg"
    Image.new("L", (16, 8), 100).save(path, quality=100, icc_profile=rgb_profile(APPLE_RGB))
    expected = 255 * SRGB.signal(np.array((100 / 255) ** 1.8))
    np.testing.assert_allclose(shown(path), [expected] * 3, atol=2)


def test_lab_is_shown(tmp_path: Path):
    path = tmp_path / "lab.tif"
    Image.new("LAB", (16, 8), (153, 128, 128)).save(path)
    expected = 255 * SRGB.signal(np.array(((60 + 16) / 116) ** 3))
    np.testing.assert_allclose(shown(path), [expected] * 3, atol=3)


def test_an_upright_phone_turns_and_keeps_its_profile(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "phone.jpg"
    solid(DISPLAY_P3.of_srgb(SKIN)).save(
        path, quality=100, subsampling=0, icc_profile=rgb_profile(DISPLAY_P3), exif=exif
    )
    photo = load_photo(path)
    assert photo.shape == (1, 16, 8, 3)
    np.testing.assert_allclose(photo[0, 8, 4].numpy() * 255, SKIN * 255, atol=3)


@pytest.mark.parametrize(
    "profile", [b"\0" * 200, b"no profile", rgb_profile(DISPLAY_P3)[:300], cmyk_profile(90.0)]
)
def test_a_profile_that_cannot_be_used_is_passed_over_and_said(
    tmp_path: Path, profile: bytes, caplog: pytest.LogCaptureFixture
):
    pixels = np.random.default_rng(5).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    path = tmp_path / "edited.png"
    Image.fromarray(pixels).save(path, icc_profile=profile)
    with caplog.at_level(logging.WARNING):
        photo = load_photo(path)
    np.testing.assert_array_equal((photo[0] * 255).round().numpy(), pixels)
    assert str(path) in caplog.text and "sRGB" in caplog.text


def test_a_photo_without_a_profile_is_srgb(tmp_path: Path):
    path = tmp_path / "plain.png"
    solid(SKIN).save(path)
    np.testing.assert_allclose(shown(path), SKIN * 255, atol=0.5)


def test_the_helper_knows_srgb(tmp_path: Path):
    """A space with sRGB's primaries and curve gives back what it got."""
    again = Space(SRGB.primaries, SRGB.gamma).of_srgb(SKIN)
    np.testing.assert_allclose(again, SKIN, atol=1e-6)
