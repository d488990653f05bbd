"""Chooses one face of a photo, cuts it out, and says what would make a better reference.

The thresholds are ours. They only lead to advice; no photo is refused by them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .align import ARCFACE_SIZE_PX, arcface_template
from .detector import Face, largest_face
from .finder import FaceFinder
from .similarity import find_padding

# ArcFace sees a face at 112 pixels; a smaller one has to be enlarged.
SMALL_FACE_PX = ARCFACE_SIZE_PX
# The `sharpness` of a sharp face of 112 pixels after a Gaussian blur of 2 pixels.
_MIN_SHARPNESS = 0.006
# Another face with more than this share of the chosen face's area is no passer-by.
_RIVAL_SHARE = 0.2
# The most that yaw and pitch (`pose`) may differ from those of a face from the front; it is some 40
# degrees of turning.
_TURNED, _NODDED = 0.33, 0.3
_MAX_ROLL_DEG = 30.0


class Choice(StrEnum):
    """How a face of a photo is chosen; `index` counts the faces from 0, from left to right."""

    LARGEST = "largest"
    MOST_CENTRAL = "most_central"
    INDEX = "index"


def left_to_right(faces: Sequence[Face]) -> list[Face]:
    """Returns the faces ordered by the middle of their boxes, which is how `index` counts them."""
    return sorted(faces, key=lambda face: _middle(face)[0])


def choose_face(
    faces: Sequence[Face], choice: Choice, height: int, width: int, index: int = 0
) -> Face:
    """Returns the chosen one of the faces, at least one, of a photo of `height` x `width` pixels.

    `most_central` chooses the face whose box has its middle nearest to the middle of the photo.
    Raises ValueError for an index without a face.
    """
    if choice is Choice.LARGEST:
        return largest_face(faces)
    if choice is Choice.MOST_CENTRAL:
        return min(faces, key=lambda face: math.dist(_middle(face), (width / 2, height / 2)))
    if not 0 <= index < len(faces):
        raise ValueError(
            f"index was {index}, but the photo shows {len(faces)} face(s), counted from 0, left to "
            f"right; needs 0 to {len(faces) - 1}: change index, or choose largest."
        )
    return left_to_right(faces)[index]


def only_person(photo: Tensor, finder: FaceFinder, name: str) -> Face | None:
    """Returns the largest face of a photo `[1, h, w, 3]` uint8, or None where it shows no face.

    Raises ValueError where another face is large enough to be meant instead (`rivals`); the message
    calls the photo `name`.
    """
    faces = [each.face for each in find_padding(photo, finder)[0]]
    face = largest_face(faces)
    others = [] if face is None else rivals(face, [each for each in faces if each is not face])
    if others:
        raise ValueError(
            f"{name} shows {len(others) + 1} persons of about one size; needs one: cut one out "
            "(the node Prepare Reference Photo does), or set the gender by hand."
        )
    return face


def crop_box(face: Face, margin: float, height: int, width: int) -> tuple[int, int, int, int]:
    """Returns the face's box with a margin, as left, top, right and bottom in whole pixels.

    The margin on each side is the share `margin` of the box's longer side. The box is cut off at
    the edge of the photo, which has `height` x `width` pixels; it keeps at least one pixel a side.
    """
    left, top, right, bottom = face.box.tolist()
    grown = margin * max(right - left, bottom - top)
    columns = _inside(left - grown, right + grown, width)
    rows = _inside(top - grown, bottom + grown, height)
    return columns[0], rows[0], columns[1], rows[1]


def face_mask(face: Face, height: int, width: int) -> Tensor:
    """Returns a mask `[height, width]` float32 that is 1 in the face's box and 0 around it."""
    left, top, right, bottom = crop_box(face, 0.0, height, width)
    mask = torch.zeros(height, width)
    mask[top:bottom, left:right] = 1
    return mask


def advise(photo: Tensor, face: Face, others: Sequence[Face]) -> list[str]:
    """Returns sentences on what would make a better reference than `face` in this photo.

    `photo` is `[h, w, 3]` uint8, and `others` are its other faces. The list is empty where nothing
    is wrong.
    """
    height, width = photo.shape[:2]
    sides = (face.box[2:] - face.box[:2]).tolist()
    advice = []
    if min(sides) < SMALL_FACE_PX:
        advice.append(
            f"The face is small, {sides[0]:.0f} x {sides[1]:.0f} pixels: take a photo in which it "
            f"is at least {SMALL_FACE_PX} pixels wide; enlarging this one adds no detail."
        )
    if sharpness(photo, face) < _MIN_SHARPNESS:
        advice.append("The face is blurred: take a sharper photo, in better light and in focus.")
    if also := rivals(face, others):
        advice.append(
            f"The photo shows {len(also) + 1} faces: see that the right one was chosen (choose) "
            "and that the others are out of the picture (a smaller margin)."
        )
    advice += _pose_advice(face.landmarks)
    left, top, right, bottom = face.box.tolist()
    if left < 0 or top < 0 or right > width or bottom > height:
        advice.append("The face is cut off by the photo's edge: take a photo that shows all of it.")
    return advice


def rivals(face: Face, others: Sequence[Face]) -> list[Face]:
    """Returns those of a photo's other faces that are so large that the photo may be of them."""
    return [each for each in others if each.area_px > _RIVAL_SHARE * face.area_px]


def sharpness(photo: Tensor, face: Face) -> float:
    """Returns how sharp a face is in a photo `[h, w, 3]` uint8.

    It is the variance of the Laplacian of the face's luminance, divided by the variance of the
    luminance; 0 for a face of one grey. A face that is larger than 112 pixels is scaled down to
    them first, because only what the recogniser sees counts.
    """
    left, top, right, bottom = crop_box(face, 0.0, *photo.shape[:2])
    crop = Image.fromarray(photo[top:bottom, left:right].numpy()).convert("L")
    scale = min(1.0, ARCFACE_SIZE_PX / min(crop.size))
    size = [max(3, round(side * scale)) for side in crop.size]
    grey = np.asarray(crop.resize(size, Image.Resampling.BOX), dtype=np.float64)
    neighbours = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    contrast = grey.var()
    return float((neighbours - 4 * grey[1:-1, 1:-1]).var() / contrast) if contrast else 0.0


def pose(landmarks: Tensor) -> tuple[float, float, float]:
    """Returns yaw, pitch and roll of a face from its five landmarks `[5, 2]`, (x, y) pixels.

    Yaw is where the nose stands along the line of the eyes: 0 at the left eye and 1 at the right
    one, with left and right as the photo shows them; in profile it lies beyond both. Pitch is where
    the nose stands between the eyes (0) and the mouth (1). Both are about 0.5 for a face from the
    front. Roll is the angle of the line of the eyes, in degrees.
    """
    points = landmarks.double()
    left_eye, right_eye, nose = points[:3]
    eyes, mouth = points[:2].mean(dim=0), points[3:].mean(dim=0)
    across = right_eye - left_eye
    roll = math.degrees(math.atan2(across[1].item(), across[0].item()))
    down = torch.stack((-across[1], across[0]))
    yaw = _share(nose - left_eye, across, across)
    pitch = _share(nose - eyes, mouth - eyes, down)
    return yaw, pitch, roll


def _pose_advice(landmarks: Tensor) -> list[str]:
    yaw, pitch, roll = pose(landmarks)
    front_yaw, front_pitch, _ = pose(arcface_template())
    if abs(yaw - front_yaw) > _TURNED or abs(pitch - front_pitch) > _NODDED:
        way = "to the side" if abs(yaw - front_yaw) > _TURNED else "up or down"
        return [f"The face is turned far {way}: take a photo that shows it from the front."]
    if abs(roll) > _MAX_ROLL_DEG:
        return [f"The head is tilted by {abs(roll):.0f} degrees: turn the photo upright."]
    return []


def _share(vector: Tensor, whole: Tensor, direction: Tensor) -> float:
    """Returns the extent of `vector` along `direction`, divided by that of `whole`.

    It is infinite where `whole` has no extent along `direction`.
    """
    length = (whole * direction).sum().item()
    return (vector * direction).sum().item() / length if length else math.inf


def _middle(face: Face) -> tuple[float, float]:
    left, top, right, bottom = face.box.tolist()
    return (left + right) / 2, (top + bottom) / 2


def _inside(low: float, high: float, size: int) -> tuple[int, int]:
    """Returns the whole pixels [start, stop) that cover low to high within `size`, at least one."""
    start = min(max(math.floor(low), 0), size - 1)
    return start, max(min(math.ceil(high), size), start + 1)
