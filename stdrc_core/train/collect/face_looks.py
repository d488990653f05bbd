"""How a face looks in a frame: turned how far, how sharp, how lit, and dressed in which colour.

All is measured on the crop that ArcFace sees (112 x 112 pixels), so that it does not depend on how
large the face is in the frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ...faces.align import ARCFACE_SIZE_PX
from ...faces.detector import Face
from ...faces.embedder import norm_crop

# The nose's tip stands out from the plane of the eyes by about half the distance between them, so
# that it is over an eye at 45 degrees (ours; heads differ by some degrees).
_NOSE_OVER_EYES = 1.0
# How far below the eyes the nose's tip is in a face that looks straight, as a share of the way to
# the mouth.
_NOSE_HEIGHT = 0.55
_BURNT_LEVEL, _DARK_LEVEL = 245, 16
# The length, in pixels, of the blur that sharpness compares with (Crete et al. 2007 take 9).
_BLUR_PX = 9
# The standard deviation, in pixels, of the blur that takes away the edges of a codec's blocks.
_DEBLOCK_PX = 1.67
# The middle of the crop is face; its edge is background and hair.
_FACE = slice(ARCFACE_SIZE_PX // 8, ARCFACE_SIZE_PX - ARCFACE_SIZE_PX // 8)


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What is measured on one face."""

    yaw_deg: float
    """How far the face is turned to the picture's right; negative to its left."""
    pitch: float
    """How far the nose's tip is below its place, as a share of the way from eyes to mouth."""
    roll_deg: float
    """How far the head is tilted, clockwise."""
    sharpness: float
    """0 for a face that another blur does not change, towards 1 for one that it changes most."""
    burnt: float
    """The share of the face's pixels that are burnt out."""
    dark: float
    """The share of the face's pixels that are in the dark."""
    light: tuple[float, float, float]
    """The face's mean red, green and blue, 0 to 255."""
    clothes: tuple[float, float, float]
    """Mean red, green and blue of what is below the face, 0 to 255."""


def measure(pixels: np.ndarray, face: Face) -> Looks:
    """The looks of a face in a frame `[h, w, 3]` uint8 RGB."""
    crop = norm_crop(pixels, face.landmarks, ARCFACE_SIZE_PX)
    own = crop[_FACE, _FACE]
    yaw_deg, pitch, roll_deg = pose(face.landmarks)
    return Looks(
        yaw_deg=yaw_deg,
        pitch=pitch,
        roll_deg=roll_deg,
        sharpness=sharpness(own.astype(np.float32).mean(axis=2)),
        # Where two of three colours are at their end, the skin's own is lost.
        burnt=float((np.median(own, axis=2) >= _BURNT_LEVEL).mean()),
        dark=float((own.max(axis=2) <= _DARK_LEVEL).mean()),
        light=_mean_color(own),
        clothes=_mean_color(_below(pixels, face.box)),
    )


def pose(landmarks: Tensor) -> tuple[float, float, float]:
    """Yaw in degrees, pitch as a share and roll in degrees, from `[5, 2]` (x, y) pixels.

    After the tilt is taken out, the nose's tip is beside the middle of the eyes by tan(yaw) times
    as much as it stands out from them.
    """
    points = landmarks.double()
    across = points[1] - points[0]
    roll = math.atan2(float(across[1]), float(across[0]))
    turn = torch.tensor(
        [[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]], dtype=torch.float64
    )
    eyes, mouth = points[:2].mean(dim=0), points[3:].mean(dim=0)
    half = float(across.norm()) / 2 or 1.0
    nose, down = turn @ (points[2] - eyes), turn @ (mouth - eyes)
    # The mouth's middle, where it is beside the eyes', tells the same turn.
    yaw = math.atan(float(nose[0]) / half / _NOSE_OVER_EYES)
    length = float(down[1])
    pitch = float(nose[1]) / length - _NOSE_HEIGHT if abs(length) > 1e-6 else 0.0
    return math.degrees(yaw), max(-2.0, min(2.0, pitch)), math.degrees(roll)


def sharpness(grey: np.ndarray) -> float:
    """The share of the energy of edges that a strong blur takes away, 0 to 1, of `[h, w]` levels.

    It compares a picture with its own blur, as Crete et al. 2007 do, whatever the picture shows; by
    energy, because there edges outweigh the steps that codecs make of smooth slopes. The lower of
    the two directions counts, so that a face that moved while it was taken is blurred. A portrait
    at 112 pixels has 0.45, with a Gaussian blur of 1 pixel 0.40, of 2 pixels 0.31.
    """
    # Means of 2 x 2 pixels hold less noise.
    rows = (grey[:-1] + grey[1:]).astype(np.float64) / 2
    smooth = cv2.GaussianBlur((rows[:, :-1] + rows[:, 1:]) / 2, (0, 0), _DEBLOCK_PX)
    return min(_sharpness_along(smooth), _sharpness_along(smooth.T))


def _sharpness_along(levels: np.ndarray) -> float:
    sums = np.cumsum(np.pad(levels, ((1, 0), (0, 0))), axis=0)
    # Only where the blur has all of its pixels; at the edge it would take away a slope too.
    blurred = (sums[_BLUR_PX:] - sums[:-_BLUR_PX]) / _BLUR_PX
    inside = slice(_BLUR_PX // 2, len(levels) - _BLUR_PX // 2)
    before, after = (np.square(np.diff(each, axis=0)).sum() for each in (levels[inside], blurred))
    return float(max(0.0, 1 - after / before)) if before > 0 else 0.0


def _below(pixels: np.ndarray, box: Tensor) -> np.ndarray:
    """The part of the frame below the face's chin, as wide as the face and half as high."""
    left, _, right, bottom = box.tolist()
    height, width = pixels.shape[:2]
    top = int(min(max(0, bottom + 0.25 * (right - left)), height - 1))
    end = int(min(height, max(top + 1, bottom + 0.75 * (right - left))))
    start = int(min(max(0, left), width - 1))
    return pixels[top:end, start : max(start + 1, int(min(width, right)))]


def _mean_color(pixels: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = pixels.reshape(-1, 3).mean(axis=0).tolist()
    return red, green, blue
