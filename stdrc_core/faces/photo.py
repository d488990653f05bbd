"""One face of a photo: which one, cut out with a margin, and what a better photo would be.

The thresholds are ours. They warn; they refuse nothing.
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

# ArcFace sees 112 pixels of a face; a smaller one is blown up.
SMALL_FACE_PX = ARCFACE_SIZE_PX
# Of a sharp face of 112 pixels under a Gaussian blur of 2 pixels.
_MIN_SHARPNESS = 0.006
# Another face of this share of the chosen one's area is no passer-by.
_RIVAL_SHARE = 0.2
# How far the nose is from where a face from the front has it, between the eyes and between eyes and
# mouth: some 40 degrees of turning.
_TURNED, _NODDED = 0.33, 0.3
_MAX_ROLL_DEG = 30.0


class Choice(StrEnum):
    """Which face of a photo is meant; `index` counts from 0, left to right."""

    LARGEST = "largest"
    MOST_CENTRAL = "most_central"
    INDEX = "index"


def left_to_right(faces: Sequence[Face]) -> list[Face]:
    """In the order that `index` counts: by the middle of the box."""
    return sorted(faces, key=lambda face: _middle(face)[0])


def choose_face(
    faces: Sequence[Face], choice: Choice, height: int, width: int, index: int = 0
) -> Face:
    """The face meant among one or more of a photo of `height` x `width` pixels.

    `most_central` is the one whose box's middle is nearest to the photo's. Raises ValueError for
    an index that there is no face for.
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
    """The largest face of a photo `[1, h, w, 3]` uint8; None where it shows none.

    Raises ValueError, which calls the photo `name`, where another face is of about its size.
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
    """The face's box and `margin` of its longer side more on each side, cut at the photo's edge.

    Left, top, right and bottom in whole pixels of a photo of `height` x `width`; at least one pixel
    a side.
    """
    left, top, right, bottom = face.box.tolist()
    grown = margin * max(right - left, bottom - top)
    columns = _inside(left - grown, right + grown, width)
    rows = _inside(top - grown, bottom + grown, height)
    return columns[0], rows[0], columns[1], rows[1]


def face_mask(face: Face, height: int, width: int) -> Tensor:
    """1 in the face's box, 0 around it: `[height, width]` float32."""
    left, top, right, bottom = crop_box(face, 0.0, height, width)
    mask = torch.zeros(height, width)
    mask[top:bottom, left:right] = 1
    return mask


def advise(photo: Tensor, face: Face, others: Sequence[Face]) -> list[str]:
    """What would make `face` of a photo `[h, w, 3]` uint8 a better reference; one sentence each.

    `others` are the photo's other faces. Empty where nothing is wrong.
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
    """Of a photo's other faces those that are no passers-by: the photo may be of them."""
    return [each for each in others if each.area_px > _RIVAL_SHARE * face.area_px]


def sharpness(photo: Tensor, face: Face) -> float:
    """Variance of the Laplacian over the variance of the face's luminance, at 112 pixels a side.

    A larger face is scaled down first: only what the recogniser sees counts. 0 for a flat face.
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
    """Yaw, pitch and roll as five landmarks `[5, 2]` (x, y) px show them.

    Yaw: where the nose stands from the left eye (0) to the right one (1), as seen, along the line
    of the eyes; beyond both in profile. Pitch: where it stands from the eyes (0) to the mouth (1).
    Both are about 0.5 for a face from the front. Roll: the angle of the line of the eyes, degrees.
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
    """How far `vector` reaches along `direction`, of what `whole` does; infinite of nothing."""
    length = (whole * direction).sum().item()
    return (vector * direction).sum().item() / length if length else math.inf


def _middle(face: Face) -> tuple[float, float]:
    left, top, right, bottom = face.box.tolist()
    return (left + right) / 2, (top + bottom) / 2


def _inside(low: float, high: float, size: int) -> tuple[int, int]:
    """Whole pixels [start, stop) that cover low to high, at least one, within `size`."""
    start = min(max(math.floor(low), 0), size - 1)
    return start, max(min(math.ceil(high), size), start + 1)
