"""The reference photo and its latent frame (Eq. 1-2).

The photo is scaled by the largest factor that keeps its aspect ratio and still fits the target
frame, then padded symmetrically on the shorter side. Encoded, it becomes one latent frame that is
appended to the video along time and cut from the output.
"""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageColor, ImageOps
from torch import Tensor

log = logging.getLogger(__name__)

# Cropped to fill the frame, a photo has to keep at least this share of itself.
MIN_CROPPED_SHARE = 1 / 256
# Resampling nodes overshoot a little; beyond this a photo is not in [0, 1] at all.
MAX_OVERSHOOT = 0.5

# What Pillow raises for a damaged file, an oversized text chunk or a decompression bomb.
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# What it raises for damaged EXIF data, whose pixels may be fine.
_BROKEN_EXIF = (SyntaxError, ValueError, struct.error, AttributeError, TypeError)


class Fit(StrEnum):
    """`pad` keeps the whole photo (the paper); `crop` fills the frame and loses the overhang."""

    PAD = "pad"
    CROP = "crop"


class ReferenceTimestep(StrEnum):
    """`clean`: t = 0, LTX's convention for conditioning tokens. `shared`: the video's t.

    The paper does not say which it uses; the default is ours (SPEC section 2).
    """

    CLEAN = "clean"
    SHARED = "shared"


@dataclass(frozen=True, kw_only=True)
class FittedBox:
    """A photo scaled to `height` x `width`, its corner at (`top`, `left`) of the frame, in pixels.

    The corner is negative where the photo hangs over the frame (`crop`).
    """

    top: int
    left: int
    height: int
    width: int


def load_photo(path: str | Path) -> Tensor:
    """Reads a photo upright, whatever its mode: `[1, height, width, C]` float32 in [0, 1].

    C is 3, or 4 where the file has transparency. EXIF rotation is applied (damaged EXIF data count
    as none); 16-bit grey keeps its depth. Raises ValueError when Pillow cannot read the file.
    """
    try:
        with Image.open(path) as image:
            image.load()
    except _UNREADABLE as error:
        raise ValueError(
            f"reference photo {path} could not be read ({error}); needs a sound PNG, JPEG or WebP "
            "file: save it again with an image editor."
        ) from error
    try:
        image = ImageOps.exif_transpose(image)
    except _BROKEN_EXIF as error:
        log.warning("%s has damaged EXIF data (%s): it is taken as upright.", path, error)
    if image.mode.startswith("I") or image.mode == "F":
        grey = torch.from_numpy(np.asarray(image).astype(np.float32)) / _white_level(image.mode)
        return grey.clamp(0, 1)[None, ..., None].expand(-1, -1, -1, 3)
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    pixels = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    return torch.from_numpy(pixels.astype(np.float32) / 255)[None]


def load_opaque_photo(path: str | Path) -> Tensor:
    """`load_photo`, black where it is transparent: `[1, height, width, 3]`."""
    photo = load_photo(path)
    return fit_reference(photo, photo.shape[1], photo.shape[2])


def fitted_box(
    photo_size: tuple[int, int], frame_size: tuple[int, int], fit: Fit = Fit.PAD
) -> FittedBox:
    """Where a photo of (height, width) lands in a frame of (height, width), all in pixels."""
    (height, width), (frame_height, frame_width) = photo_size, frame_size
    pick = min if fit is Fit.PAD else max
    factor = pick(frame_height / height, frame_width / width)
    bound = min if fit is Fit.PAD else max
    # Rounding may not push the fitted side over the frame's edge, nor a thin photo down to nothing.
    new_height = max(1, bound(frame_height, round(height * factor)))
    new_width = max(1, bound(frame_width, round(width * factor)))
    return FittedBox(
        top=(frame_height - new_height) // 2,
        left=(frame_width - new_width) // 2,
        height=new_height,
        width=new_width,
    )


def fit_reference(
    photo: Tensor,
    height: int,
    width: int,
    *,
    fit: Fit = Fit.PAD,
    pad_color: str = "#000000",
) -> Tensor:
    """Fits one photo `[1, h, w, C]`, values in [0, 1], into a frame of `height` x `width` pixels.

    C may be 1 (grey), 2 (grey and alpha), 3 or 4 (RGB and alpha); what is transparent shows
    `pad_color`, an HTML colour. Returns `[1, height, width, 3]` float32 in [0, 1].
    Raises ValueError for another shape, values that are not finite or far from [0, 1], an unknown
    colour, or a photo of which cropping would leave next to nothing.
    """
    _check_photo(photo)
    color = _rgb(pad_color).to(photo.device)
    box = fitted_box((photo.shape[1], photo.shape[2]), (height, width), fit)
    if fit is Fit.CROP and height * width < MIN_CROPPED_SHARE * box.height * box.width:
        raise ValueError(
            f"image is {photo.shape[1]} x {photo.shape[2]} pixels (height x width); cropped to "
            f"{height} x {width} nearly all of it would be lost: use fit = pad or another photo."
        )
    resized = F.interpolate(
        _over_color(photo.float(), color).movedim(-1, 1),
        size=(box.height, box.width),
        mode="bicubic",
        antialias=True,
        align_corners=False,
    ).clamp(0, 1)
    if fit is Fit.CROP:
        rows = slice(-box.top, height - box.top)
        columns = slice(-box.left, width - box.left)
        return resized[..., rows, columns].movedim(1, -1).contiguous()
    frame = color.expand(1, height, width, 3).clone()
    frame[:, box.top : box.top + box.height, box.left : box.left + box.width] = resized.movedim(
        1, -1
    )
    return frame


def append_reference(video: Tensor, reference: Tensor) -> Tensor:
    """z~ = [z, z_ref] along time (Eq. 2): `[B, C, T, H, W]` and `[B or 1, C, K, H, W]` latents.

    Returns `[B, C, T + K, H, W]` in the video's dtype; K is the number of photos, 1 in the paper.
    """
    frame = reference.to(video).expand(video.shape[0], -1, -1, -1, -1)
    return torch.cat((video, frame), dim=2)


def in_slots(latents: Tensor, num_clips: int) -> Tensor:
    """Photos' latents `[B K, C, 1, H, W]`, those of each clip in a row, as `[B, C, K, H, W]`."""
    return latents.squeeze(2).unflatten(0, (num_clips, -1)).movedim(1, 2)


def as_frames(reference: Tensor, height: int, width: int) -> tuple[Tensor, int]:
    """References of any size, `[B, C, K, h, w]`, as frames `[B, C, M, height, width]` of tokens.

    The tokens run through the frames one after another; the last frame is filled up with zeros,
    and how many tokens these are is returned beside it. References of the frames' size are whole
    frames, and nothing is filled up.
    """
    batch, channels = reference.shape[:2]
    tokens = reference.flatten(2)
    num_padding = -tokens.shape[2] % (height * width)
    padded = F.pad(tokens, (0, num_padding))
    return padded.reshape(batch, channels, -1, height, width), num_padding


def strip_reference(output: Tensor, num_references: int = 1) -> Tensor:
    """Drops the references' frames from a prediction `[B, C, T + K, H, W]`: `[B, C, T, H, W]`."""
    return output[:, :, : output.shape[2] - num_references]


def _white_level(mode: str) -> float:
    # Pillow opens 16-bit grey as I;16 or as I; F images hold [0, 1] by convention.
    return 1.0 if mode == "F" else 65535.0


def _check_photo(photo: Tensor) -> None:
    shape = list(photo.shape)
    if photo.ndim != 4 or shape[0] != 1 or shape[-1] not in (1, 2, 3, 4) or 0 in shape:
        raise ValueError(
            f"image had shape {shape}; exactly one photo [1, height, width, 1 to 4 channels] is "
            "needed: pick one image of a batch or one frame of a clip."
        )
    if not photo.is_floating_point():
        raise ValueError(
            f"image holds {photo.dtype} values; needs floating-point values in [0, 1]: divide "
            "8-bit pixels by 255."
        )
    if not torch.isfinite(photo).all():
        raise ValueError(
            "image holds NaN or infinite values; needs finite values in [0, 1]: load the photo "
            "again or check the node before this one."
        )
    low, high = photo.aminmax()
    if low < -MAX_OVERSHOOT or high > 1 + MAX_OVERSHOOT:
        raise ValueError(
            f"image holds values from {low:.4g} to {high:.4g}; needs values in [0, 1]: divide "
            "8-bit pixels by 255 or check the node before this one."
        )


def _rgb(color: str) -> Tensor:
    try:
        return torch.tensor(ImageColor.getrgb(color)[:3], dtype=torch.float32) / 255
    except ValueError as error:
        raise ValueError(
            f"pad_color was {color!r}; needs an HTML colour such as #000000 or white."
        ) from error


def _over_color(photo: Tensor, color: Tensor) -> Tensor:
    """Composites alpha over `color`; grey becomes RGB."""
    channels = photo.shape[-1]
    rgb = photo[..., :1].expand(*photo.shape[:-1], 3) if channels < 3 else photo[..., :3]
    if channels in (1, 3):
        return rgb
    alpha = photo[..., -1:]
    return rgb * alpha + color * (1 - alpha)
