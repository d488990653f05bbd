"""The photo in the frame (Eq. 1), against Pillow and exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers.real_photo import astronaut
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch import Tensor

from stdrc_core.method.reference import (
    Fit,
    fit_reference,
    fitted_box,
)
from stdrc_core.photo_file import read_color

GREY_LEVEL = 1 / 255

photo_sides = st.one_of(st.integers(1, 4000), st.sampled_from((1, 2, 3, 9999, 10000)))
frame_sides = st.integers(1, 64).map(lambda latent: 32 * latent)


def noise(height: int, width: int, channels: int, low: int = 0, high: int = 256) -> np.ndarray:
    generator = np.random.default_rng(height * 1000 + width)
    return generator.integers(low, high, (height, width, channels), dtype=np.uint8)


def as_photo(pixels: np.ndarray) -> Tensor:
    """8-bit `[h, w, C]` to a photo `[1, h, w, C]` in [0, 1]."""
    return torch.from_numpy(pixels.astype(np.float32) / 255)[None]


def as_pixels(image: Image.Image) -> Tensor:
    return as_photo(np.asarray(image.convert("RGB")))


def assert_within_levels(actual: Tensor, expected: Tensor, levels: float) -> None:
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= levels * GREY_LEVEL


def pillow_float_resize(pixels: np.ndarray, height: int, width: int) -> Tensor:
    """Pillow's bicubic in floating point, which neither rounds nor clips between its two passes."""
    planes = [
        Image.fromarray(pixels[..., channel].astype(np.float32) / 255).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        for channel in range(pixels.shape[-1])
    ]
    return torch.from_numpy(np.stack([np.asarray(plane) for plane in planes], axis=-1))[None]


def margins(box: tuple[int, int], size: int) -> tuple[int, int]:
    """What is left of a frame's side before and after [start, start + length)."""
    start, length = box
    return start, size - start - length


# Where the photo lands


@settings(deadline=None, max_examples=300)
@given(photo=st.tuples(photo_sides, photo_sides), frame=st.tuples(frame_sides, frame_sides))
def test_padded_photo_is_the_largest_that_fits_whole_in_the_middle(
    photo: tuple[int, int], frame: tuple[int, int]
):
    box = fitted_box(photo, frame, Fit.PAD)
    factor = min(Fraction(frame[0], photo[0]), Fraction(frame[1], photo[1]))
    assert box.height == frame[0] or box.width == frame[1]
    for side, photo_side, start, frame_side in zip(
        (box.height, box.width), photo, (box.top, box.left), frame, strict=True
    ):
        assert 1 <= side <= frame_side
        assert side == 1 or abs(side - photo_side * factor) <= Fraction(1, 2)
        before, after = margins((start, side), frame_side)
        assert before >= 0
        assert 0 <= after - before <= 1


@settings(deadline=None, max_examples=300)
@given(photo=st.tuples(photo_sides, photo_sides), frame=st.tuples(frame_sides, frame_sides))
def test_cropped_photo_is_the_smallest_that_covers_the_frame_from_the_middle(
    photo: tuple[int, int], frame: tuple[int, int]
):
    box = fitted_box(photo, frame, Fit.CROP)
    factor = max(Fraction(frame[0], photo[0]), Fraction(frame[1], photo[1]))
    assert box.height == frame[0] or box.width == frame[1]
    for side, photo_side, start, frame_side in zip(
        (box.height, box.width), photo, (box.top, box.left), frame, strict=True
    ):
        assert side >= frame_side
        assert abs(side - photo_side * factor) <= Fraction(1, 2)
        before, after = margins((start, side), frame_side)
        assert before <= 0
        assert after <= 0
        assert abs(after - before) <= 1


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("factor", [Fraction(1, 2), 1, 3])
def test_a_photo_of_the_frames_own_aspect_fills_it_exactly(fit: Fit, factor: Fraction):
    box = fitted_box((int(96 * factor), int(160 * factor)), (96, 160), fit)
    assert (box.top, box.left, box.height, box.width) == (0, 0, 96, 160)


# What it looks like there


# Sizes whose margins are even, so that Pillow and we agree on the middle.
@pytest.mark.parametrize(
    ("photo", "frame"),
    [
        ((64, 48), (96, 96)),
        ((48, 64), (96, 96)),
        ((200, 100), (64, 96)),
        ((100, 200), (64, 96)),
        ((37, 37), (128, 64)),
        ((300, 500), (96, 160)),
        ((96, 160), (96, 160)),
    ],
)
def test_padding_is_pillows_pad_of_8_bit_pixels(photo: tuple[int, int], frame: tuple[int, int]):
    # Kept off black and white: Pillow's 8 bits clip between the two passes, floats do not.
    pixels = noise(*photo, 3, low=48, high=208)
    padded = ImageOps.pad(
        Image.fromarray(pixels), frame[::-1], Image.Resampling.BICUBIC, color="#1e90ff"
    )
    fitted = fit_reference(as_photo(pixels), *frame, pad_color=read_color("#1e90ff"))
    assert_within_levels(fitted, as_pixels(padded), 1.5)


@pytest.mark.parametrize(
    ("photo", "frame"),
    [
        ((64, 48), (96, 96)),
        ((200, 100), (64, 96)),
        ((100, 200), (64, 96)),
        ((300, 400), (96, 160)),
        ((31, 62), (128, 64)),
    ],
)
def test_cropping_is_the_centre_of_pillows_resize(photo: tuple[int, int], frame: tuple[int, int]):
    height, width = frame
    pixels = noise(*photo, 3, low=48, high=208)
    cover = ImageOps.cover(Image.fromarray(pixels), (width, height), Image.Resampling.BICUBIC)
    left, top = (cover.width - width) // 2, (cover.height - height) // 2
    assert cover.width > width or cover.height > height
    centre = cover.crop((left, top, left + width, top + height))
    fitted = fit_reference(as_photo(pixels), height, width, fit=Fit.CROP)
    assert_within_levels(fitted, as_pixels(centre), 1.5)


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    frame=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_the_scaled_photo_is_pillows_bicubic_clipped_to_0_and_1(
    height: int, width: int, frame: tuple[int, int]
):
    pixels = noise(height, width, 3)
    frame_height, frame_width = 32 * frame[0], 32 * frame[1]
    box = fitted_box((height, width), (frame_height, frame_width))
    fitted = fit_reference(
        as_photo(pixels), frame_height, frame_width, pad_color=read_color("#ff0000")
    )
    inner = fitted[:, box.top : box.top + box.height, box.left : box.left + box.width]
    expected = pillow_float_resize(pixels, box.height, box.width).clamp(0, 1)
    torch.testing.assert_close(inner, expected, rtol=0, atol=1e-4)


@settings(deadline=None, max_examples=40)
@given(
    photo=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    frame=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_padding_has_the_exact_colour_and_the_photo_covers_the_rest(
    photo: tuple[int, int], frame: tuple[int, int]
):
    height, width = 32 * frame[0], 32 * frame[1]
    fitted = fit_reference(
        torch.zeros(1, *photo, 3), height, width, pad_color=read_color("#ff8001")
    )
    is_padding = (fitted[0] == torch.tensor([1.0, 128 / 255, 1 / 255])).all(dim=-1)
    is_photo = (fitted[0] == 0).all(dim=-1)
    assert (is_padding ^ is_photo).all()
    box = fitted_box(photo, (height, width))
    assert is_photo.sum() == box.height * box.width


@pytest.mark.parametrize(
    ("name", "color"),
    [
        ("#000", (0, 0, 0)),
        ("white", (255, 255, 255)),
        ("#808080", (128, 128, 128)),
        ("rgb(1, 2, 3)", (1, 2, 3)),
        ("#11223344", (17, 34, 51)),
    ],
)
def test_padding_takes_html_colours(name: str, color: tuple[int, int, int]):
    fitted = fit_reference(torch.rand(1, 4, 8, 3), 32, 32, pad_color=read_color(name))
    corner = fitted[0, 0, 0] * 255
    assert corner.tolist() == pytest.approx(color, abs=1e-4)


@pytest.mark.parametrize(("height", "width"), [(1, 10000), (10000, 1), (2, 9999)])
def test_an_extreme_photo_becomes_a_line_one_pixel_thick(height: int, width: int):
    fitted = fit_reference(
        torch.ones(1, height, width, 3), 64, 96, pad_color=read_color("#000000")
    )[0, ..., 0]
    rows, columns = torch.nonzero(fitted > 0.99, as_tuple=True)
    lines = (rows.unique().tolist(), columns.unique().tolist())
    upright = height > width
    assert lines[not upright] == list(range(64 if upright else 96))
    assert lines[upright] == [47 if upright else 31]
    assert fitted.sum() == pytest.approx(64 if upright else 96, abs=1e-3)


@pytest.mark.parametrize("fit", Fit)
def test_an_extreme_photo_can_also_be_cropped(fit: Fit):
    fitted = fit_reference(
        torch.full((1, 2, 400, 3), 0.25), 64, 96, fit=fit, pad_color=read_color("#404040")
    )
    assert fitted.shape == (1, 64, 96, 3)
    assert_within_levels(fitted, torch.full_like(fitted, 0.25), 0.5)


def test_sharp_edges_do_not_leave_the_range_of_a_picture():
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(4, 4)[None, ..., None].expand(1, 8, 8, 3)
    fitted = fit_reference(board, 96, 96)
    assert fitted.min() == 0
    assert fitted.max() == 1


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_kind_of_photo_becomes_rgb_float_of_the_frames_size(fit: Fit, channels: int):
    photo = torch.rand(1, 20, 33, channels, dtype=torch.float64)
    fitted = fit_reference(photo, 64, 96, fit=fit)
    assert fitted.shape == (1, 64, 96, 3)
    assert fitted.dtype == torch.float32


# Grey and transparent photos


@pytest.mark.parametrize(("frame", "top", "rows"), [((96, 160), 0, 96), ((96, 96), 19, 58)])
@pytest.mark.parametrize("color", ["#000000", "#ff8001"])
def test_transparency_is_composited_as_pillow_does(
    frame: tuple[int, int], top: int, rows: int, color: str
):
    """Hidden colours must not bleed into the edge where the photo is scaled."""
    pixels = noise(48, 80, 4)
    pixels[:20, :20] = (255, 0, 255, 0)
    image = Image.fromarray(pixels)
    opaque = Image.alpha_composite(Image.new("RGBA", image.size, color), image).convert("RGB")
    fitted = fit_reference(as_photo(pixels), *frame, pad_color=read_color(color))
    expected = as_pixels(Image.new("RGB", frame[::-1], color))
    scaled = pillow_float_resize(np.asarray(opaque), rows, frame[1])
    expected[:, top : top + rows] = scaled.clamp(0, 1)
    assert_within_levels(fitted, expected, 1.5)


def test_a_transparent_photo_shows_the_padding_colour_alone():
    photo = torch.rand(1, 10, 20, 4)
    photo[..., 3] = 0
    fitted = fit_reference(photo, 64, 64, pad_color=read_color("#00ff00"))
    torch.testing.assert_close(fitted, torch.tensor([0.0, 1, 0]).expand(1, 64, 64, 3))


def test_a_grey_photo_is_the_rgb_photo_of_equal_channels():
    grey = torch.rand(1, 30, 20, 1)
    assert torch.equal(fit_reference(grey, 64, 64), fit_reference(grey.repeat(1, 1, 1, 3), 64, 64))


def test_grey_with_alpha_is_composited_as_pillow_does():
    pixels = noise(32, 64, 2)
    image = Image.fromarray(pixels, mode="LA").convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", image.size, "#336699"), image)
    fitted = fit_reference(as_photo(pixels), 32, 64, pad_color=read_color("#336699"))
    assert_within_levels(fitted, as_pixels(opaque), 1.0)


# A real photo


@pytest.mark.parametrize("columns", [slice(0, 512), slice(100, 400)])
def test_a_real_photo_keeps_its_aspect(columns: slice):
    """A frame of half its height shows the photo at half its width too, as Pillow scales it."""
    photo = np.ascontiguousarray(astronaut()[:, columns])
    width = photo.shape[1] // 2
    half = pillow_float_resize(photo, 256, width).clamp(0, 1)
    fitted = fit_reference(as_photo(photo), 256, 384)
    left = (384 - width) // 2
    inner, outside = fitted[:, :, left : left + width], fitted.clone()
    outside[:, :, left : left + width] = 0
    assert_within_levels(inner, half, 0.1)
    assert outside.abs().max() == 0


def test_a_photo_of_the_right_height_is_not_resampled():
    photo = as_photo(astronaut())
    fitted = fit_reference(photo, 512, 768)
    torch.testing.assert_close(fitted[:, :, 128:640], photo, rtol=0, atol=1e-6)


# Bad input, and the caller's tensors


@pytest.mark.parametrize(
    "shape", [(4, 4, 3), (2, 4, 4, 3), (1, 4, 4, 5), (1, 0, 4, 3), (1, 1, 4, 4, 3)]
)
def test_anything_but_one_photo_is_refused_with_its_shape(shape: tuple[int, ...]):
    wanted = rf"^image had shape \[{', '.join(map(str, shape))}\].* one photo .*pick one"
    with pytest.raises(ValueError, match=wanted):
        fit_reference(torch.zeros(shape), 64, 64)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_photo_with_values_that_are_not_finite_is_refused(value: float):
    photo = torch.zeros(1, 4, 4, 3)
    photo[0, 2, 1, 0] = value
    with pytest.raises(ValueError, match=r"^image holds NaN or infinite values; .*load the photo"):
        fit_reference(photo, 64, 64)


@pytest.mark.parametrize(
    ("photo", "wanted"),
    [
        (torch.full((1, 4, 4, 3), 200.0), "from 200 to 200"),
        (torch.full((1, 4, 4, 3), -1.0), "from -1 to -1"),
        (torch.full((1, 4, 4, 3), 200, dtype=torch.uint8), "torch.uint8"),
    ],
)
def test_pixels_that_are_not_between_0_and_1_are_refused(photo: Tensor, wanted: str):
    with pytest.raises(ValueError, match=rf"^image holds .*{wanted}.* divide 8-bit pixels by 255"):
        fit_reference(photo, 64, 64)


def test_the_small_overshoot_of_resampling_is_clipped():
    fitted = fit_reference(
        torch.tensor([-0.1, 1.1])[None, None, :, None].expand(1, 2, 2, 3), 64, 64
    )
    assert fitted.min() == 0
    assert fitted.max() == 1


def test_cropping_that_would_lose_nearly_all_of_a_photo_is_refused():
    with pytest.raises(ValueError, match=r"^image is 1 x 9000 pixels .*512 x 768.*fit = pad"):
        fit_reference(torch.zeros(1, 1, 9000, 3), 512, 768, fit=Fit.CROP)


@pytest.mark.parametrize("color", ["blurple", "#12", "", "0,0,0"])
def test_an_unknown_colour_is_refused_with_an_example(color: str):
    with pytest.raises(ValueError, match=rf"^pad_color was '{color}'; .*#000000"):
        read_color(color)


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(64, 64), (20, 30)])
def test_the_callers_photo_is_unchanged_and_shares_no_memory(
    fit: Fit, channels: int, size: tuple[int, int]
):
    photo = torch.rand(1, *size, channels)
    before = photo.clone()
    fit_reference(photo, 64, 64, fit=fit).zero_()
    assert torch.equal(photo, before)
