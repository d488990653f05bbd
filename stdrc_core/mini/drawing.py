"""Draws a person in a scene: the frames of a clip or a photo, and where the face is in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from . import scene as scenes
from .character import Identity, shaded
from .figure import Figure, Pose
from .scene import Scene

SIDE_PX = 128
NUM_FRAMES = 17
FPS = 24
# A photo is a portrait: the head is in the middle, and larger than in any clip. Its half-height and
# its middle are shares of the frame's height.
PORTRAIT_SIZE, PORTRAIT_Y = 0.34, 0.53
# Shapes are drawn larger by this factor and then scaled down, so that edges are smooth.
_OVERSAMPLING = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """Drawn frames, and where one person's face is in each of them."""

    pixels: np.ndarray
    """The frames, `[F, h, w, 3]` uint8."""
    boxes: np.ndarray
    """The face's left, top, right and bottom in pixels, `[F, 4]`."""
    landmarks: np.ndarray
    """Eyes, tip of the nose, corners of the mouth, each from the left, in pixels, `[F, 5, 2]`."""


def draw_clip(
    person: Identity, scene: Scene, num_frames: int = NUM_FRAMES, side_px: int = SIDE_PX
) -> Drawing:
    """A clip of the person through the scene's motion: `num_frames` frames of `side_px` squared."""
    return draw_together([(person, scene)], num_frames, side_px)[0]


def draw_together(
    people: Sequence[tuple[Identity, Scene]],
    num_frames: int = NUM_FRAMES,
    side_px: int = SIDE_PX,
) -> list[Drawing]:
    """One clip of several persons, each through its own scene's motion, the later ones in front.

    Wall and light are those of the first scene. Returns a `Drawing` for each person: all have the
    same pixels, and each tells where its own person's face is.
    """
    times = np.linspace(0, 1, num_frames) if num_frames > 1 else np.array([0.5])
    cast = [(person, scene, [_pose(scene, u) for u in times]) for person, scene in people]
    return _draw(cast, side_px)


def draw_photo(person: Identity, scene: Scene, side_px: int = SIDE_PX) -> np.ndarray:
    """A portrait of the person in the middle of the scene's motion, `[h, w, 3]` uint8.

    The head is where portraits have it, moved by the scene's shift.
    """
    right, down = scene.shift
    pose = replace(_pose(scene, 0.5), x=0.5 + right, y=PORTRAIT_Y + down, size=PORTRAIT_SIZE)
    return _draw([(person, scene, [pose])], side_px)[0].pixels[0]


def _draw(cast: Sequence[tuple[Identity, Scene, list[Pose]]], side_px: int) -> list[Drawing]:
    """A `Drawing` for each person of the cast, who has a pose for each frame of the clip."""
    surroundings = cast[0][1]
    backdrop = _draw_backdrop(surroundings, side_px * _OVERSAMPLING)
    pixels, figures = [], []
    for poses in zip(*(poses for _, _, poses in cast), strict=True):
        canvas = backdrop.copy()
        figures.append(
            [
                Figure(person, scene, pose, canvas)
                for (person, scene, _), pose in zip(cast, poses, strict=True)
            ]
        )
        pixels.append(_finish(canvas, surroundings, side_px))
    clip = np.stack(pixels)
    return [
        Drawing(
            pixels=clip,
            boxes=_px([figure.box() for figure in own]),
            landmarks=_px([figure.landmarks() for figure in own]),
        )
        for own in zip(*figures, strict=True)
    ]


def _px(drawn: Sequence[np.ndarray]) -> np.ndarray:
    return (np.stack(drawn) / _OVERSAMPLING).astype(np.float32)


def draw_empty(scene: Scene, side_px: int = SIDE_PX) -> np.ndarray:
    """The scene without a person, `[h, w, 3]` uint8."""
    backdrop = _draw_backdrop(scene, side_px * _OVERSAMPLING)
    return _finish(backdrop, scene, side_px)


def _pose(scene: Scene, u: float) -> Pose:
    """Where the head is at the time u in [0, 1] of the scene's motion."""
    swing, wave = 2 * u - 1, math.sin(2 * math.pi * u)
    x = scenes.PLACES[scene.place] + scene.shift[0]
    size = scenes.SHOTS[scene.shot]
    yaw, pitch, roll = scene.pose
    match scene.motion:
        case "turns left":
            yaw -= 0.25 * swing
        case "turns right":
            yaw += 0.25 * swing
        case "nods slowly":
            pitch += 0.2 * wave
        case "tilts sideways":
            roll += 0.2 * wave
        case "walks right":
            x += 0.05 * swing
        case "comes closer":
            size *= 1 + 0.09 * swing
    is_speaking = scene.motion == "speaks up"
    return Pose(
        x=x,
        y=0.44 + scene.shift[1],
        size=size,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        mouth_open=0.1 * (0.5 - 0.5 * math.cos(2 * math.pi * u)) if is_speaking else 0.0,
    )


def _draw_backdrop(scene: Scene, side_px: int) -> Image.Image:
    color = scenes.COLORS[scene.background]
    second = shaded(color, 0.74)
    canvas = Image.new("RGB", (side_px, side_px), color)
    draw = ImageDraw.Draw(canvas)
    step = side_px // 8
    match scene.pattern:
        case "striped":
            for x in range(0, side_px, 2 * step):
                draw.rectangle((x, 0, x + step, side_px), fill=second)
        case "dotted":
            for x in range(0, side_px, 2 * step):
                for y in range(0, side_px, 2 * step):
                    left, top = x + step // 2, y + step // 2
                    draw.ellipse((left, top, left + step, top + step), fill=second)
        case "checked":
            for x in range(0, 8, 2):
                for y in range(8):
                    left = (x + y % 2) * step
                    draw.rectangle((left, y * step, left + step, (y + 1) * step), fill=second)
        case "hilly":
            draw.ellipse(
                (-0.3 * side_px, 0.45 * side_px, 0.7 * side_px, 1.4 * side_px), fill=second
            )
            darker = shaded(color, 0.55)
            draw.ellipse((0.4 * side_px, 0.55 * side_px, 1.4 * side_px, 1.5 * side_px), fill=darker)
    return canvas


def _finish(canvas: Image.Image, scene: Scene, side_px: int) -> np.ndarray:
    small = np.asarray(canvas.resize((side_px, side_px), Image.Resampling.BOX), dtype=np.float32)
    lit = small * np.array(scenes.LIGHTS[scene.light], dtype=np.float32)
    return lit.round().clip(0, 255).astype(np.uint8)
