"""Photo files as people have them, written here with Pillow: what `load_photo` makes of each."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.real_photo import astronaut
from PIL import Image, ImageFile, PngImagePlugin
from torch import Tensor

from stdrc_core.photo_file import load_photo

ORIENTATION = 0x0112
# EXIF's own definition: how the stored rows and columns are turned to be shown.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


def noise(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, channels), dtype=np.uint8)


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def assert_photo(photo: Tensor, expected: np.ndarray, atol: float = 1e-7) -> None:
    """`expected` is `[height, width, C]` in [0, 1]."""
    assert photo.dtype == torch.float32
    assert photo.shape == (1, *expected.shape)
    np.testing.assert_allclose(photo[0].numpy(), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int):
    pixels = noise(4, 6, 3)
    path = tmp_path / "phone.png"
    Image.fromarray(pixels).save(path, exif=with_orientation(orientation))
    assert_photo(load_photo(path), UPRIGHT[orientation](pixels) / 255)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_rotation_is_applied_to_16_bit_grey(tmp_path: Path, orientation: int):
    values = np.random.default_rng(3).integers(0, 65536, (4, 6, 1), dtype=np.uint16)
    path = tmp_path / "scan.png"
    Image.fromarray(values[..., 0]).save(path, exif=with_orientation(orientation))
    upright = UPRIGHT[orientation](values) / 65535
    assert_photo(load_photo(path), np.repeat(upright, 3, axis=-1))


def test_a_jpeg_from_a_phone_held_upright_stands_upright(tmp_path: Path):
    """Stored lying on its side with orientation 6: the stored left is the top, when shown."""
    pixels = np.zeros((64, 96, 3), dtype=np.uint8)
    pixels[:, :48] = (200, 40, 40)
    pixels[:, 48:] = (40, 40, 200)
    path = tmp_path / "phone.jpg"
    Image.fromarray(pixels).save(path, quality=95, exif=with_orientation(6))
    photo = load_photo(path)
    assert photo.shape == (1, 96, 64, 3)
    assert (photo[0, :40, :, 0] > 0.7).all()
    assert (photo[0, 56:, :, 2] > 0.7).all()


def test_a_real_photo_is_read_pixel_for_pixel(tmp_path: Path):
    path = tmp_path / "astronaut.png"
    Image.fromarray(astronaut()).save(path)
    assert_photo(load_photo(str(path)), astronaut() / 255)


def test_rgba_keeps_its_alpha(tmp_path: Path):
    pixels = noise(5, 7, 4)
    path = tmp_path / "cutout.png"
    Image.fromarray(pixels).save(path)
    assert_photo(load_photo(path), pixels / 255)


def test_grey_with_alpha_becomes_rgb_with_alpha(tmp_path: Path):
    pixels = noise(5, 7, 2)
    path = tmp_path / "cutout.png"
    Image.fromarray(pixels, mode="LA").save(path)
    assert_photo(load_photo(path), pixels[..., [0, 0, 0, 1]] / 255)


def test_grey_becomes_rgb(tmp_path: Path):
    pixels = noise(5, 7, 1)
    path = tmp_path / "grey.png"
    Image.fromarray(pixels[..., 0]).save(path)
    assert_photo(load_photo(path), pixels[..., [0, 0, 0]] / 255)


def test_one_bit_becomes_black_and_white(tmp_path: Path):
    bits = noise(5, 9, 1)[..., 0] > 127
    path = tmp_path / "fax.png"
    Image.fromarray(bits).save(path)
    assert Image.open(path).mode == "1"
    assert_photo(load_photo(path), np.repeat(bits[..., None], 3, axis=-1).astype(float))


@pytest.mark.parametrize("transparent", [None, 2])
def test_a_palette_shows_its_colours_and_its_transparent_entry(
    tmp_path: Path, transparent: int | None
):
    colors = np.array([[255, 0, 0], [0, 128, 0], [10, 20, 30], [7, 8, 9]], dtype=np.uint8)
    indices = noise(6, 8, 1)[..., 0] % 4
    image = Image.fromarray(indices, mode="P")
    image.putpalette(colors.tobytes())
    path = tmp_path / "drawing.png"
    image.save(path, **({} if transparent is None else {"transparency": transparent}))
    assert Image.open(path).mode == "P"
    photo, rgb = load_photo(path), colors[indices] / 255
    if transparent is None:
        assert_photo(photo, rgb)
    else:
        assert_photo(photo, np.concatenate((rgb, (indices != 2)[..., None]), axis=-1))


def test_an_rgb_file_with_one_transparent_colour_has_alpha(tmp_path: Path):
    pixels = np.full((3, 3, 3), 90, dtype=np.uint8)
    pixels[1, 1] = (1, 2, 3)
    path = tmp_path / "key.png"
    Image.fromarray(pixels).save(path, transparency=(1, 2, 3))
    alpha = np.ones((3, 3))
    alpha[1, 1] = 0
    np.testing.assert_array_equal(load_photo(path)[0, ..., 3].numpy(), alpha)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_keeps_its_depth(tmp_path: Path, suffix: str):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    path = tmp_path / f"scan{suffix}"
    Image.fromarray(values).save(path)
    photo = load_photo(path)
    assert_photo(photo, np.repeat(values[..., None] / 65535, 3, axis=-1))
    assert photo.unique().numel() == 65536


def test_12_bit_grey_has_its_own_white(tmp_path: Path):
    path = tmp_path / "scan.pgm"
    path.write_bytes(b"P5 3 1 4095\n" + np.array([0, 2048, 4095], dtype=">u2").tobytes())
    expected = np.repeat(np.array([[[0], [2048 / 4095], [1]]]), 3, axis=-1)
    assert_photo(load_photo(path), expected, atol=1e-5)


def test_float_grey_is_already_in_0_to_1(tmp_path: Path):
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    path = tmp_path / "render.tif"
    Image.fromarray(values).save(path)
    assert_photo(load_photo(path), np.repeat(values[..., None], 3, axis=-1))


@pytest.mark.parametrize("levels", [(np.nan, 0.5), (0, 128.0), (0, np.inf), (-70.0, 0)])
def test_numbers_that_are_no_levels_of_grey_are_refused(tmp_path: Path, levels: tuple):
    """A map of depths, or floats from 0 to 255, which would be a white photo."""
    path = tmp_path / "depth.tif"
    Image.fromarray(np.array([levels], dtype=np.float32)).save(path)
    with pytest.raises(ValueError, match=r"depth\.tif has levels from .* needs those of a photo"):
        load_photo(path)


def test_16_bit_grey_with_one_transparent_level(tmp_path: Path):
    values = np.array([[0, 30000, 65535]], dtype=np.uint16)
    path = tmp_path / "scan.png"
    Image.fromarray(values).save(path, transparency=30000)
    expected = np.repeat(values[..., None] / 65535, 4, axis=-1)
    expected[..., 3] = [[1, 0, 1]]
    assert_photo(load_photo(path), expected)


@pytest.mark.parametrize("ink", [(0, 0, 0, 0), (255, 0, 0, 0), (0, 128, 64, 0), (40, 40, 0, 100)])
def test_a_cmyk_jpeg_shows_ink_on_white_paper(tmp_path: Path, ink: tuple[int, int, int, int]):
    path = tmp_path / "print.jpg"
    Image.new("CMYK", (16, 16), ink).save(path, quality=98)
    cyan, magenta, yellow, black = (value / 255 for value in ink)
    rgb = [(1 - color) * (1 - black) for color in (cyan, magenta, yellow)]
    assert_photo(load_photo(path), np.broadcast_to(rgb, (16, 16, 3)), atol=4 / 255)


def test_the_first_frame_of_an_animation_is_the_photo(tmp_path: Path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("#ff0000", "#0000ff")]
    path = tmp_path / "clip.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    assert_photo(load_photo(path)[..., :3], np.broadcast_to((1.0, 0, 0), (4, 4, 3)))


# What cannot be read


def assert_refused_by_name(path: Path) -> None:
    with pytest.raises(ValueError) as refusal:
        load_photo(path)
    assert str(path) in str(refusal.value)
    assert "PNG, JPEG or WebP" in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"dear diary", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path, content: bytes):
    path = tmp_path / "letter.png"
    path.write_bytes(content)
    assert_refused_by_name(path)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path):
    assert_refused_by_name(tmp_path / "nobody.png")
    assert_refused_by_name(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_half_a_file_is_refused_by_name(tmp_path: Path, suffix: str):
    path = tmp_path / f"download{suffix}"
    Image.fromarray(noise(64, 64, 3)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert_refused_by_name(path)


@pytest.mark.parametrize("chunk", [0, 1])
def test_a_png_with_a_damaged_chunk_is_refused_by_name(tmp_path: Path, chunk: int):
    path = tmp_path / "damaged.png"
    Image.fromarray(noise(200, 200, 3)).save(path)
    parts = path.read_bytes().split(b"IDAT")
    assert len(parts) == 3
    parts[chunk] += b"\x01\x02\x03\x04" + parts.pop(chunk + 1)
    path.write_bytes(b"IDAT".join(parts))
    assert_refused_by_name(path)


def test_a_png_with_a_bloated_comment_is_refused_by_name(tmp_path: Path):
    comment = PngImagePlugin.PngInfo()
    comment.add_text("workflow", "x" * (2 * PngImagePlugin.MAX_TEXT_CHUNK), zip=True)
    path = tmp_path / "comment.png"
    Image.fromarray(noise(4, 4, 3)).save(path, pnginfo=comment)
    assert_refused_by_name(path)


def test_a_photo_beyond_pillows_limit_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "huge.png"
    Image.fromarray(noise(40, 40, 3)).save(path)
    # Pillow's own setting, 179 million pixels by default; it raises above twice that.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    assert_refused_by_name(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("exif", [b"garbage, not a TIFF header", b"II"])
def test_broken_exif_gives_the_photo_or_a_refusal_by_name(tmp_path: Path, suffix: str, exif: bytes):
    pixels = np.full((32, 48, 3), 120, dtype=np.uint8)
    path = tmp_path / f"edited{suffix}"
    Image.fromarray(pixels).save(path, exif=b"Exif\0\0" + exif)
    try:
        photo = load_photo(path)
    except ValueError as refusal:
        assert str(path) in str(refusal)
    else:
        assert_photo(photo, pixels / 255, atol=3 / 255)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.parametrize("name", ["a.heic", "IMG_1.JPG", "a.HEIF", "no ending"])
def test_a_heic_photo_is_named_with_what_to_do(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    """Phones save it under other endings too."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / name).write_bytes(HEIC + bytes(99))
    with pytest.raises(ValueError, match=r"is a HEIC photo, .* pip install pillow-heif, or save"):
        load_photo(tmp_path / name)


def test_a_heic_photo_is_read_where_the_package_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A stand-in for pillow-heif, which gives Pillow a reader just so."""

    class Reader(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self) -> None:
            self._size, self._mode = (2, 2), "RGB"
            self.tile = [ImageFile._Tile("raw", (0, 0, 2, 2), len(HEIC), "RGB")]

    package = types.ModuleType("pillow_heif")
    package.register_heif_opener = lambda: Image.register_open(
        "HEIF", Reader, lambda start: start[4:12] == b"ftypheic"
    )
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    colors = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [51, 102, 153]]], np.uint8)
    (tmp_path / "a.heic").write_bytes(HEIC + colors.tobytes())
    assert_photo(load_photo(tmp_path / "a.heic"), colors / 255)


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "TIFF", "GIF", "PPM", "TGA", "JPEG2000", "AVIF"])
def test_what_else_pillow_reads_is_a_photo(tmp_path: Path, kind: str):
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow has no {kind}")
    path = tmp_path / "photo"
    with path.open("wb") as file:
        Image.fromarray(np.full((16, 16, 3), 51, np.uint8)).save(file, format=kind)
    assert_photo(load_photo(path), np.full((16, 16, 3), 0.2), atol=4 / 255)
