"""The reference photo and its latent frame (Eq. 1-2).

The photo is scaled by the largest factor that keeps its aspect ratio and still fits the target
frame, then padded symmetrically on the shorter side. Encoded, it becomes one latent frame that is
appended to the video along time and cut from the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.nn.functional as F
from torch import Tensor

# Cropped to fill the frame, a photo has to keep at least this share of itself.
MIN_CROPPED_SHARE = 1 / 256
# Resampling nodes overshoot a little; beyond this a photo is not in [0, 1] at all.
MAX_OVERSHOOT = 0.5
BLACK = (0.0, 0.0, 0.0)


class Fit(StrEnum):
    """`pad` keeps the whole photo (the paper); `crop` fills the frame and loses the overhang."""

    PAD = "pad"
    CROP = "crop"


class ReferenceTimestep(StrEnum):
    """`clean`: t = 0, LTX's convention for conditioning tokens. `shared`: the video's t.

    The paper does not say which it uses; the default is ours (docs/method.md section 2).
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
    pad_color: tuple[float, float, float] = BLACK,
) -> Tensor:
    """Fits one photo `[1, h, w, C]`, values in [0, 1], into a frame of `height` x `width` pixels.

    C may be 1 (grey), 2 (grey and alpha), 3 or 4 (RGB and alpha); what is transparent shows
    `pad_color`, RGB in [0, 1]. Returns `[1, height, width, 3]` float32 in [0, 1].
    Raises ValueError for another shape, values that are not finite or far from [0, 1], or a photo
    of which cropping would leave next to nothing.
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


def _over_color(photo: Tensor, color: Tensor) -> Tensor:
    """Composites alpha over `color`; grey becomes RGB."""
    channels = photo.shape[-1]
    rgb = photo[..., :1].expand(*photo.shape[:-1], 3) if channels < 3 else photo[..., :3]
    if channels in (1, 3):
        return rgb
    alpha = photo[..., -1:]
    return rgb * alpha + color * (1 - alpha)
