"""Turns the pixels of a photo with an ICC profile into sRGB.

Phones write Display P3, cameras Adobe RGB, and print shops CMYK with a profile of their paper. As
photo editors do, it keeps the colours that both have (relative colorimetric, with black point
compensation).
"""

from __future__ import annotations

import io
import logging
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

log = logging.getLogger(__name__)

# Modes whose pixels LittleCMS takes as they are, and those that no profile is applied to.
_MODES = ("L", "RGB", "RGBA", "CMYK", "LAB")
_BARE_MODES = ("1", "I", "F")
# A profile that moves no colour by more levels than this is sRGB's own: the pixels stay as they
# are, bit for bit.
_SRGB_LEVELS = 2
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


def to_srgb(image: Image.Image, name: str) -> Image.Image:
    """Returns a photo in sRGB, with its alpha; without a profile it is returned as it is.

    16-bit grey keeps its depth. A profile that is damaged, or is not for this kind of photo, is
    passed over with a warning, which calls the photo `name`.
    """
    profile = image.info.get("icc_profile")
    if image.mode == "LAB":
        return _converted(image, ImageCms.createProfile("LAB"))
    if not profile or image.mode in _BARE_MODES:
        return image
    try:
        opened = _opened(profile)
        if image.mode.startswith("I;16"):
            return _grey_converted(image, opened)
        return _converted(_in_mode(image, opened), opened)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        log.warning(
            "%s has a color profile that cannot be used (%s): its colors are taken as sRGB.",
            name,
            error,
        )
        return image


def _in_mode(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    """Returns the photo in a mode that the profile is for: grey as RGB, and palettes as RGB, with
    alpha where they are transparent."""
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    is_grey = image.mode in ("L", "LA")
    if is_grey and profile.profile.xcolor_space.strip() == "GRAY":
        return image.convert("LA") if has_alpha else image
    if image.mode in _MODES and not is_grey and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if has_alpha else "RGB")


def _converted(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    if image.mode == "LA":
        grey = _converted(image.getchannel("L"), profile).convert("RGB")
        return Image.merge("RGBA", (*grey.split(), image.getchannel("A")))
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    transform = ImageCms.buildTransform(
        profile, _srgb(), image.mode, mode, renderingIntent=_INTENT, flags=_FLAGS
    )
    probe = _all_around(image.mode)
    if probe is not None:
        before = np.asarray(probe.convert("RGB"), dtype=np.int16)
        after = np.asarray(ImageCms.applyTransform(probe, transform).convert("RGB"))
        if np.abs(before - after).max() <= _SRGB_LEVELS:
            return image
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None, "only a transform in place returns none"
    if mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted


def _grey_converted(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    """Returns 16-bit grey by the curve that the profile has in 8 bits, interpolated."""
    levels = np.arange(256, dtype=np.uint8)[None]
    curve = np.asarray(_converted(Image.fromarray(levels), profile).convert("L"))[0]
    values = np.asarray(image).astype(np.float64)
    bent = np.interp(values, levels[0] * 257.0, curve * 257.0)
    return Image.fromarray(bent.round().astype(np.uint16))


def _all_around(mode: str) -> Image.Image | None:
    """Returns colours from all over the cube as a picture; None for modes that sRGB lacks."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "L":
        return Image.fromarray(steps[None])
    if mode not in ("RGB", "RGBA"):
        return None
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    return Image.fromarray(cube.reshape(1, -1, 3)).convert(mode)


@lru_cache(maxsize=8)
def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
