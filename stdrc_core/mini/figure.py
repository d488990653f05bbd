"""Draws a person on a canvas: body, head and face, from the back to the front.

A head is an ellipsoid that is seen without perspective. Its features are flat shapes on its
surface, which turn with it. Lengths are in half-heights of the head, with x to the right of the
picture and y down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .character import BLACK, Color, Identity, shaded
from .scene import COLORS, Scene

_HEAD_DEPTH = 0.7
_EYES_Y = -0.08
_MOUTH_Y = 0.52
# What all faces have in common.
_EYE_DISTANCE = 0.33
_NOSE_WIDTH, _NOSE_LENGTH = 0.12, 0.26
_LIP_THICKNESS = 0.09
# The tip of the nose stands out from the head.
_NOSE_LIFT = 0.2
_WHITE: Color = (250, 250, 248)
_CIRCLE = np.stack(
    [np.cos(np.linspace(0, 2 * np.pi, 36)), np.sin(np.linspace(0, 2 * np.pi, 36))], axis=1
)


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where a head is in a frame, and how it is turned; angles are in radians."""

    x: float
    """The head's middle from the left, as a share of the frame's side."""
    y: float
    """The head's middle from the top, as a share of the frame's side."""
    size: float
    """The head's half-height, as a share of the frame's side."""
    yaw: float
    pitch: float
    roll: float
    mouth_open: float
    """How far the mouth is open, in half-heights of the head."""


class Figure:
    """A person, drawn on the square `canvas` when it is made."""

    def __init__(self, person: Identity, scene: Scene, pose: Pose, canvas: Image.Image) -> None:
        self.person, self.scene, self.pose = person, scene, pose
        self.side_px = canvas.width
        self.draw = ImageDraw.Draw(canvas)
        self._draw_hair_behind()
        self._draw_body()
        self._draw_head()
        self._draw_marks()
        self._draw_eyes()
        self._draw_nose()
        self._draw_beard()
        self._draw_mouth()
        self._draw_hair()
        self._draw_brows()
        self._draw_glasses()

    def landmarks(self) -> np.ndarray:
        """Eyes, tip of the nose and corners of the mouth, each from the left: `[5, 2]` (x, y) in
        pixels of the canvas."""
        person = self.person
        eyes = np.array([(-_EYE_DISTANCE, _EYES_Y), (_EYE_DISTANCE, _EYES_Y)])
        tip = np.array([(0, _EYES_Y + _NOSE_LENGTH)])
        mouth = np.array([(-person.mouth_width, _MOUTH_Y), (person.mouth_width, _MOUTH_Y)])
        points = [self._on_face(eyes), self._on_face(tip, _NOSE_LIFT), self._on_face(mouth)]
        return np.concatenate(points)

    def box(self) -> np.ndarray:
        """The head without hair and ears: `[4]` left, top, right, bottom in the canvas's pixels."""
        outline = self._flat(self._outline())
        return np.concatenate([outline.min(axis=0), outline.max(axis=0)])

    def _on_face(self, points: np.ndarray, lift: float = 0.0) -> np.ndarray:
        """Canvas pixels `[N, 2]` of points `[N, 2]` that lie `lift` above the head's surface and
        turn with the head."""
        x, y = points.T
        depth = 1 - (x / self.person.face_width) ** 2 - y**2
        z = _HEAD_DEPTH * np.sqrt(np.clip(depth, 0.02, None)) + lift
        pose = self.pose
        x, z = x * math.cos(pose.yaw) + z * math.sin(pose.yaw), z * math.cos(pose.yaw)
        y = y * math.cos(pose.pitch) + z * math.sin(pose.pitch)
        return self._flat(np.stack([x, y], axis=1))

    def _flat(self, points: np.ndarray) -> np.ndarray:
        """Canvas pixels `[N, 2]` of points `[N, 2]` in the plane of the head's middle, which turn
        by roll alone."""
        cos, sin = math.cos(self.pose.roll), math.sin(self.pose.roll)
        # The head tilts about the neck.
        x, y = points[:, 0], points[:, 1] - 1
        turned = np.stack([x * cos - y * sin, x * sin + y * cos + 1], axis=1)
        return self._upright(turned)

    def _upright(self, points: np.ndarray) -> np.ndarray:
        """Canvas pixels `[N, 2]` of points `[N, 2]` that do not turn with the head."""
        middle = np.array([self.pose.x, self.pose.y])
        return (middle + points * self.pose.size) * self.side_px

    def _fill(self, points_px: np.ndarray, color: Color) -> None:
        self.draw.polygon([tuple(point) for point in points_px], fill=color)

    def _spot(self, x: float, y: float, radius: float, color: Color, stretch: float = 1.0) -> None:
        """Draws an ellipse on the face; `stretch` is its height over its width."""
        points = _CIRCLE * (radius, radius * stretch) + (x, y)
        self._fill(self._on_face(points), color)

    def _stroke(self, points: Any, width: float, color: Color) -> None:
        """Draws a line on the face."""
        line = [tuple(point) for point in self._on_face(np.array(points, dtype=float))]
        width_px = max(1, round(width * self.pose.size * self.side_px))
        self.draw.line(line, fill=color, width=width_px, joint="curve")

    def _outline(self, grow: float = 0.0) -> np.ndarray:
        """The head's outline `[N, 2]`: an ellipse whose lower half is the jaw's."""
        x, y = _CIRCLE.T
        below = np.clip(y, 0, None)
        match self.person.jaw:
            case "square":
                x = np.sign(x) * np.abs(x) ** np.where(y > 0, 0.62, 1)
            case "pointed":
                x = x * (1 - 0.3 * below)
        return np.stack([x * (self.person.face_width + grow), y * (1 + grow)], axis=1)

    def _draw_body(self) -> None:
        person, scene = self.person, self.scene
        color = COLORS[scene.clothes_color]
        neck = np.array([(-0.34, 0.6), (0.34, 0.6), (0.4, 1.5), (-0.4, 1.5)])
        shoulders = np.concatenate(
            [
                np.array([(-2.0, 4.0), (-1.9, 2.0), (-1.5, 1.55), (-0.45, 1.25)]),
                np.array([(0.45, 1.25), (1.5, 1.55), (1.9, 2.0), (2.0, 4.0)]),
            ]
        )
        if scene.clothes == "hood":
            self._fill(self._upright(_CIRCLE * (1.15, 0.75) + (0, 1.2)), shaded(color, 0.75))
        self._fill(self._upright(shoulders), color)
        self._fill(self._upright(neck), shaded(person.skin, 0.84))
        self._fill(self._upright(_CIRCLE * (0.4, 0.2) + (0, 1.45)), shaded(person.skin, 0.84))
        match scene.clothes:
            case "collar":
                for side in (-1, 1):
                    flap = np.array([(0.4 * side, 1.2), (0.95 * side, 1.45), (0.15 * side, 1.95)])
                    self._fill(self._upright(flap), shaded(color, 1.35))
            case "stripes":
                for y in (1.75, 2.15, 2.55):
                    stripe = np.array([(-1.75, y), (1.75, y), (1.8, y + 0.17), (-1.8, y + 0.17)])
                    self._fill(self._upright(stripe), _WHITE)

    def _draw_head(self) -> None:
        skin = self.person.skin
        for side in (-1, 1):
            middle = (side * self.person.face_width - 0.1 * math.sin(self.pose.yaw), 0.02)
            self._fill(self._flat(_CIRCLE * (0.12, 0.2) + middle), shaded(skin, 0.9))
        self._fill(self._flat(self._outline()), skin)

    def _draw_eyes(self) -> None:
        person = self.person
        for side in (-1, 1):
            x, size = side * _EYE_DISTANCE, person.eye_size
            self._spot(x, _EYES_Y, size * 1.15, shaded(person.skin, 0.6), 0.8)
            self._spot(x, _EYES_Y + 0.01, size * 1.05, _WHITE, 0.75)
            self._spot(x, _EYES_Y + 0.01, size * 0.68, person.eye_color)
            self._spot(x, _EYES_Y + 0.01, size * 0.3, BLACK)

    def _draw_brows(self) -> None:
        person = self.person
        color = shaded(person.hair.color, 0.75) if person.hair else (60, 44, 36)
        for side in (-1, 1):
            inner, outer = (side * (_EYE_DISTANCE + d) for d in (-0.13, 0.17))
            y = _EYES_Y - person.eye_size - 0.09
            ends = [(inner, y), (outer, y)]
            self._stroke(ends, person.brow_thickness, color)

    def _draw_nose(self) -> None:
        person = self.person
        tip = _EYES_Y + _NOSE_LENGTH
        ridge = np.array([(-0.03, _EYES_Y), (0.03, _EYES_Y)])
        ball = _CIRCLE * (_NOSE_WIDTH, _NOSE_WIDTH * 0.55) + (0, tip)
        sides = ball[np.abs(_CIRCLE[:, 1]).argsort(kind="stable")[:2]]
        slope = [self._on_face(ridge), self._on_face(sides[np.argsort(-sides[:, 0])], _NOSE_LIFT)]
        self._fill(np.concatenate(slope), shaded(person.skin, 0.9))
        self._fill(self._on_face(ball, _NOSE_LIFT), shaded(person.skin, 0.8))

    def _draw_mouth(self) -> None:
        person, gap = self.person, self.pose.mouth_open
        lips = _CIRCLE * (person.mouth_width, _LIP_THICKNESS + gap) + (0, _MOUTH_Y)
        self._fill(self._on_face(lips), person.lip_color)
        line = _CIRCLE * (person.mouth_width * 0.8, 0.012 + gap * 0.8) + (0, _MOUTH_Y)
        self._fill(self._on_face(line), shaded(person.lip_color, 0.4))

    def _draw_beard(self) -> None:
        person = self.person
        color = shaded(person.hair.color, 0.85) if person.hair else (70, 50, 40)
        if person.beard == "full":
            lower = self._outline()
            lower = lower[lower[:, 1] > 0.12]
            lower = lower[np.argsort(lower[:, 0])]
            upper = np.array([(0.45, 0.3), (0.2, 0.38), (-0.2, 0.38), (-0.45, 0.3)])
            self._fill(np.concatenate([self._flat(lower), self._on_face(upper)]), color)
        if person.beard == "goatee":
            self._spot(0, _MOUTH_Y + 0.27, 0.17, color, 1.0)
        if person.beard in ("moustache", "full"):
            y = _MOUTH_Y - _LIP_THICKNESS - 0.05
            ends = [
                (-person.mouth_width - 0.04, y + 0.06),
                (0, y),
                (person.mouth_width + 0.04, y + 0.06),
            ]
            self._stroke(ends, 0.1, color)

    def _draw_marks(self) -> None:
        skin = self.person.skin
        match self.person.mark:
            case "mole_left":
                self._spot(-0.4, 0.28, 0.055, (50, 30, 26))
            case "mole_right":
                self._spot(0.4, 0.28, 0.055, (50, 30, 26))
            case "freckles":
                for x in (-0.48, -0.38, -0.28, 0.28, 0.38, 0.48):
                    self._spot(
                        x, 0.14 + 0.07 * (round(x * 100) // 10 % 2), 0.03, shaded(skin, 0.66)
                    )
            case "scar":
                self._stroke([(0.22, 0.5), (0.48, 0.12)], 0.045, shaded(skin, 1.3))
            case "blush":
                for side in (-1, 1):
                    red, green, blue = skin
                    blush = (min(255, red + 14), int(green * 0.78), int(blue * 0.8))
                    self._spot(side * 0.42, 0.2, 0.15, blush, 0.7)

    def _draw_hair_behind(self) -> None:
        if self.person.hair is None:
            return
        style, color = self.person.hair
        width, dark = self.person.face_width, shaded(color, 0.8)
        match style:
            case "long":
                back = _CIRCLE * (width + 0.28, 1.0) + (0, -0.15)
                fall = np.array([(-width - 0.28, -0.1), (width + 0.28, -0.1)])
                low = np.array([(width + 0.36, 1.75), (-width - 0.36, 1.75)])
                self._fill(self._flat(back), dark)
                self._fill(np.concatenate([self._flat(fall), self._upright(low)]), dark)
            case "bob":
                back = np.array([(-width - 0.3, -0.3), (width + 0.3, -0.3)])
                low = np.array([(width + 0.34, 0.8), (-width - 0.34, 0.8)])
                self._fill(self._flat(np.concatenate([back, low])), dark)
            case "curly":
                for angle in np.linspace(-0.35, math.pi + 0.35, 11):
                    middle = (math.cos(angle) * (width + 0.1), -math.sin(angle) * 0.95 - 0.1)
                    self._fill(self._flat(_CIRCLE * 0.34 + middle), dark)
            case "bun":
                self._fill(self._flat(_CIRCLE * 0.36 + (0, -1.25)), dark)
            case "mohawk":
                crest = np.array(
                    [(-0.2, -0.6), (-0.26, -1.5), (0, -1.65), (0.26, -1.5), (0.2, -0.6)]
                )
                self._fill(self._flat(crest), color)

    def _draw_hair(self) -> None:
        if self.person.hair is None:
            return
        style, color = self.person.hair
        if style == "mohawk":
            strip = np.array([(-0.18, -0.98), (0.18, -0.98), (0.13, -0.55), (-0.13, -0.55)])
            self._fill(self._on_face(strip), color)
            return
        # The y to which the hair comes down the forehead at the left, the middle and the right.
        left, middle, right = {
            "short": (-0.42, -0.62, -0.42),
            "fringe": (-0.26, -0.32, -0.26),
            "side_part": (-0.2, -0.55, -0.75),
            "long": (-0.3, -0.66, -0.3),
            "curly": (-0.4, -0.5, -0.4),
            "bun": (-0.5, -0.7, -0.5),
            "bob": (-0.24, -0.36, -0.24),
        }[style]
        skull = self._outline(grow=0.07)
        skull = skull[skull[:, 1] < -0.15]
        # From the left end of the skull's arc the outline goes over the top to the right end, then
        # back on the face.
        skull = skull[np.argsort(skull[:, 0])]
        width = self.person.face_width
        edge = np.array([(0.85 * width, right), (0.5 * width, (right + middle) / 2), (0, middle),
                         (-0.5 * width, (left + middle) / 2), (-0.85 * width, left)])  # fmt: skip
        self._fill(np.concatenate([self._flat(skull), self._on_face(edge)]), color)
        if style in ("long", "bob"):
            length = 1.0 if style == "long" else 0.75
            for side in (-1, 1):
                top = [(side * (width + 0.08), -0.45), (side * (width - 0.14), -0.4)]
                lock = [*top, (side * (width - 0.02), length), (side * (width + 0.3), length)]
                self._fill(self._flat(np.array(lock)), color)

    def _draw_glasses(self) -> None:
        glasses = self.person.glasses
        if glasses is None:
            return
        distance = _EYE_DISTANCE
        half = 0.21
        for side in (-1, 1):
            ring = _CIRCLE * half
            if glasses.shape == "square":
                ring = np.clip(_CIRCLE * 1.5, -1, 1) * (half, half * 0.8)
            closed = np.append(ring, ring[:2], axis=0)
            self._stroke(closed + np.array((side * distance, _EYES_Y + 0.01)), 0.055, glasses.color)
            temple = [(side * (distance + half), _EYES_Y), (side * self.person.face_width, -0.1)]
            self._stroke(temple, 0.05, glasses.color)
        bridge = [(half - distance, _EYES_Y - 0.03), (distance - half, _EYES_Y - 0.03)]
        self._stroke(bridge, 0.055, glasses.color)
