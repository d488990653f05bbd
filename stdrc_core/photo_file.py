"""Reads photos from files and colours from words."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageColor, ImageOps
from torch import Tensor

from .color.profiles import to_srgb
from .files import why_unreadable
from .method.reference import BLACK, over_color

log = logging.getLogger(__name__)

# The kinds of HEIF, which stand in the second four bytes of its `ftyp`.
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}

# How far levels may be beyond black and white.
_BEYOND = 1.0
# The errors that Pillow raises for a damaged file, an oversized text chunk or a decompression bomb.
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# The errors that Pillow raises for damaged EXIF data; the pixels of such a file may be fine.
_BROKEN_EXIF = (SyntaxError, ValueError, struct.error, AttributeError, TypeError)


def load_photo(path: str | Path) -> Tensor:
    """Reads a photo, whatever its mode: `[1, height, width, C]` float32 in [0, 1].

    C is 3, or 4 where the file has transparency. The photo is turned as its EXIF data say, and its
    colours become sRGB by its ICC profile; where one of them is damaged, the photo is left as it is
    in that, and a warning is logged. 16-bit grey keeps its depth. Raises ValueError where Pillow
    cannot read the file.
    """
    if _is_heif(path):
        _register_heif(path)
    try:
        with Image.open(path) as image:
            image.load()
    except _UNREADABLE as error:
        raise ValueError(
            f"reference photo {path} could not be read ({why_unreadable(path, error)}); needs a "
            "sound PNG, JPEG or WebP file: save it again with an image editor."
        ) from error
    try:
        image = ImageOps.exif_transpose(image)
    except _BROKEN_EXIF as error:
        log.warning("%s has damaged EXIF data (%s): it is taken as upright.", path, error)
    image = to_srgb(image, str(path))
    if image.mode.startswith("I") or image.mode == "F":
        return _from_grey(image, path)
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    pixels = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    return torch.from_numpy(pixels.astype(np.float32) / 255)[None]


def load_opaque_photo(path: str | Path, pad_color: tuple[float, float, float] = BLACK) -> Tensor:
    """Reads a photo as `load_photo` does, and lays it over `pad_color` where it is transparent.

    Returns `[1, height, width, 3]` float32 in [0, 1]; so is `pad_color`, RGB.
    """
    return over_color(load_photo(path), torch.tensor(pad_color))


def read_color(text: str) -> tuple[float, float, float]:
    """Returns an HTML colour, such as #1e90ff or white, as RGB in [0, 1].

    Raises ValueError for text that is no colour; the message calls it pad_color.
    """
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError as error:
        raise ValueError(
            f"pad_color was {text!r}; needs an HTML colour such as #000000 or white."
        ) from error
    return red / 255, green / 255, blue / 255


def _is_heif(path: str | Path) -> bool:
    """Whether a file is a HEIF photo, as phones save them, whatever its name ends in."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(32)
    # Of a file that is not there or may not be read, Pillow's own error tells.
    except OSError:
        return False
    # An AVIF may have a brand of HEIF first; Pillow reads it by itself.
    is_avif = b"avif" in start[8:]
    return start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS and not is_avif


def _register_heif(path: str | Path) -> None:
    """Lets Pillow read HEIF; raises ValueError where the package for that is not installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise ValueError(
            f"reference photo {path} is a HEIC photo, as phones save them, and could not be read; "
            "needs the package pillow-heif, or a JPEG: pip install pillow-heif, or save it again "
            "as JPEG."
        ) from error
    register_heif_opener()


def _from_grey(image: Image.Image, path: str | Path) -> Tensor:
    """Returns a grey photo of more than 8 bits, `[1, h, w, C]` in [0, 1], by its own white.

    Raises ValueError for numbers that are no levels of grey, such as those of a map of depths.
    """
    values = np.asarray(image).astype(np.float32)
    grey = torch.from_numpy(values / _white_level(image.mode))
    # A rendering's highlights may be somewhat brighter than white.
    if not (grey > -_BEYOND).logical_and(grey < 1 + _BEYOND).all():
        white = "1" if image.mode == "F" else "65535"
        raise ValueError(
            f"reference photo {path} has levels from {values.min():g} to {values.max():g}; needs "
            f"those of a photo, 0 to {white}: save it as PNG or JPEG."
        )
    pixels = grey.clamp(0, 1)[None, ..., None].expand(-1, -1, -1, 3)
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return pixels
    alpha = torch.from_numpy(np.float32(values != transparent))
    return torch.cat((pixels, alpha[None, ..., None]), dim=-1)


def _white_level(mode: str) -> float:
    # Pillow opens 16-bit grey in the mode I;16 or I. Images of mode F hold [0, 1] by convention.
    return 1.0 if mode == "F" else 65535.0
