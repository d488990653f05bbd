"""The reference photo and its latent frame (Eq. 1-2).

The photo is scaled by the largest factor that keeps its aspect ratio and still fits the target
frame, and is then padded evenly on the shorter side. Encoded, it is one latent frame, which is
appended to the video along time and cut off from the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.nn.functional as F
from torch import Tensor

from .placement import ReferenceTimestep as ReferenceTimestep

# The least share of a photo's area that may be left when it is cropped to fill the frame.
MIN_CROPPED_SHARE = 1 / 256
# Nodes that resample go a little beyond [0, 1]. Values further beyond it than this have another
# range.
MAX_OVERSHOOT = 0.5
BLACK = (0.0, 0.0, 0.0)


class Fit(StrEnum):
    """How a photo is fitted into the frame.

    `pad` shows the whole photo and fills up the frame with a colour, as in the paper. `crop` fills
    the frame with the photo and cuts off what hangs over.
    """

    PAD = "pad"
    CROP = "crop"


@dataclass(frozen=True, kw_only=True)
class FittedBox:
    """Where a scaled photo lies in the frame, in pixels."""

    top: int
    """The row of the frame where the photo begins; negative where the photo hangs over."""
    left: int
    """The column of the frame where the photo begins; negative where the photo hangs over."""
    height: int
    """The height that the photo is scaled to."""
    width: int
    """The width that the photo is scaled to."""


def fitted_box(
    photo_size: tuple[int, int], frame_size: tuple[int, int], fit: Fit = Fit.PAD
) -> FittedBox:
    """Returns where a photo lies in a frame; both sizes are (height, width) in pixels."""
    (height, width), (frame_height, frame_width) = photo_size, frame_size
    pick = min if fit is Fit.PAD else max
    factor = pick(frame_height / height, frame_width / width)
    # Rounding may neither push the fitted side over the frame's edge, nor bring the other side of a
    # thin photo down to 0.
    new_height = max(1, pick(frame_height, round(height * factor)))
    new_width = max(1, pick(frame_width, round(width * factor)))
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
    pad_color: tuple[float, float, float] = BLACK,
) -> Tensor:
    """Returns a photo fitted into a frame: `[1, height, width, 3]` float32 in [0, 1].

    `photo` is `[1, h, w, C]`, floating point in [0, 1], where C is 1 (grey), 2 (grey and alpha),
    3 (RGB) or 4 (RGB and alpha). `pad_color`, RGB in [0, 1], shows beside the photo and where it is
    transparent.

    Raises ValueError for another shape or type, for values that are not finite or far from [0, 1],
    and for a photo of which cropping would leave next to nothing.
    """
    _check_photo(photo)
    color = torch.tensor(pad_color, dtype=torch.float32, device=photo.device)
    box = fitted_box((photo.shape[1], photo.shape[2]), (height, width), fit)
    if fit is Fit.CROP and height * width < MIN_CROPPED_SHARE * box.height * box.width:
        raise ValueError(
            f"image is {photo.shape[1]} x {photo.shape[2]} pixels (height x width); cropped to "
            f"{height} x {width} nearly all of it would be lost: use fit = pad or another photo."
        )
    resized = F.interpolate(
        over_color(photo.float(), color).movedim(-1, 1),
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


def over_color(photos: Tensor, color: Tensor) -> Tensor:
    """Returns photos `[..., C]` as RGB `[..., 3]`, laid over `color` `[3]` where transparent.

    C is as for `fit_reference`; all values are floating point in [0, 1].
    """
    rgb = _as_rgb(photos)
    if photos.shape[-1] in (1, 3):
        return rgb
    alpha = photos[..., -1:]
    return rgb * alpha + color * (1 - alpha)


def with_transparency(photos: Tensor, mask: Tensor | None) -> Tensor:
    """Returns photos with the transparency of a mask as their last channel: `[B, h, w, 4]`.

    `photos` is `[B, h, w, C]` as for `fit_reference`. `mask` is `[1 or B, h, w]` or `[h, w]` in
    [0, 1], and 1 where a photo is transparent; so ComfyUI's Load Image gives a file's alpha. A
    photo that has alpha itself is as transparent as the more transparent of the two, so that the
    same alpha given twice counts once. Without a mask, and with one of zeros of any size (Load
    Image has one for files without alpha), the photos are returned as they are.

    Raises ValueError for another shape or size, and for values that are not in [0, 1].
    """
    if mask is None or not mask.any() or photos.ndim != 4:
        return photos
    alpha = 1 - _checked_mask(mask, photos)[..., None].to(photos)
    if photos.shape[-1] in (2, 4):
        alpha = torch.minimum(alpha, photos[..., -1:])
    return torch.cat((_as_rgb(photos), alpha.expand(*photos.shape[:-1], 1)), dim=-1)


def _as_rgb(photos: Tensor) -> Tensor:
    """Returns photos `[..., C]` without their alpha, `[..., 3]`."""
    if photos.shape[-1] < 3:
        return photos[..., :1].expand(*photos.shape[:-1], 3)
    return photos[..., :3]


def _checked_mask(mask: Tensor, photos: Tensor) -> Tensor:
    """Returns the mask as `[1 or B, h, w]`."""
    shape, (num_photos, height, width) = list(mask.shape), photos.shape[:3]
    if mask.ndim not in (2, 3) or (mask.ndim == 3 and shape[0] not in (1, num_photos)):
        raise ValueError(
            f"mask has shape {shape}, image is a batch of {num_photos}; needs one mask [height, "
            "width] for all photos or one for each: connect the mask of the node that loads image."
        )
    if shape[-2:] != [height, width]:
        raise ValueError(
            f"mask is {shape[-2]} x {shape[-1]} pixels (height x width), image is {height} x "
            f"{width}; needs the same size: connect the mask of the node that loads image, or "
            "resize both alike."
        )
    low, high = mask.float().aminmax()
    # NaN compares as false, so it fails too.
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"mask holds values from {low:.4g} to {high:.4g}; needs finite values in [0, 1], 1 "
            "where image is transparent: check the node before this one."
        )
    return mask[None] if mask.ndim == 2 else mask


def append_reference(video: Tensor, reference: Tensor) -> Tensor:
    """Returns z~ = [z, z_ref], joined along time (Eq. 2): `[B, C, T + K, H, W]`.

    `video` is z `[B, C, T, H, W]`, and `reference` is z_ref `[B or 1, C, K, H, W]`, the latents of
    K photos; the paper has one. The result has the video's dtype and device.
    """
    frame = reference.to(video).expand(video.shape[0], -1, -1, -1, -1)
    return torch.cat((video, frame), dim=2)


def in_slots(latents: Tensor, num_clips: int) -> Tensor:
    """Returns the latents of B K photos as those of K slots in each of B clips: `[B, C, K, H, W]`.

    `latents` is `[B K, C, 1, H, W]`, with the K photos of each clip one after another;
    `num_clips` is B.
    """
    return latents.squeeze(2).unflatten(0, (num_clips, -1)).movedim(1, 2)


def as_frames(reference: Tensor, height: int, width: int) -> tuple[Tensor, int]:
    """Returns the tokens of K references laid out in M frames of another size, and their padding.

    `reference` is `[B, C, K, h, w]`; the frames are `[B, C, M, height, width]`. The tokens fill the
    frames one after another, and the last frame is filled up with zeros. How many tokens these
    zeros are is the second value that is returned; it is 0 where h x w is the frames' size.
    """
    batch, channels = reference.shape[:2]
    tokens = reference.flatten(2)
    num_padding = -tokens.shape[2] % (height * width)
    padded = F.pad(tokens, (0, num_padding))
    return padded.reshape(batch, channels, -1, height, width), num_padding


def strip_reference(output: Tensor, num_references: int = 1) -> Tensor:
    """Returns the prediction `[B, C, T + K, H, W]` without its last K frames: `[B, C, T, H, W]`.

    `num_references` is K.
    """
    return output[:, :, : output.shape[2] - num_references]


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
