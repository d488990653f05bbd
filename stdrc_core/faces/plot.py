"""A clip's cosines with the photo over its frames, as one small picture for a node's preview.

It is drawn with Pillow twice as large and then scaled down, which smooths its lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..shown_text import one_line
from .annotate import likeness_color
from .likeness import Likeness

_WIDTH_PX, _HEIGHT_PX = 960, 480
_SCALE = 2
_LEFT, _TOP, _RIGHT, _BOTTOM = 66, 112, 934, 412
_NUM_TICKS = 8
_LEVELS = (-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
# A band narrower than this has no room for words.
_WORDS_PX = 60

_BACKGROUND = (27, 29, 34)
_PANEL = (34, 37, 43)
_GRID = (54, 58, 66)
_ZERO = (96, 101, 112)
_TEXT = (228, 230, 235)
_MUTED = (148, 153, 164)
_LINE = (122, 162, 247)
_DRIFT = (214, 160, 92)
_NO_FACE = (66, 49, 54)
_NO_FACE_TEXT = (214, 132, 132)


def plot_likeness(likeness: Likeness, note: str = "") -> Tensor:
    """A picture `[480, 960, 3]` uint8 of the cosine of each frame that was looked at.

    FaceSim is a number and a dashed line, drift a straight one; frames without a face are red bands
    with a cross; a ring is the other face of a frame that is most like the photo; `note` stands at
    the lower right.
    """
    return _Canvas(likeness).draw(note)


class _Canvas:
    def __init__(self, likeness: Likeness) -> None:
        self.likeness = likeness
        self.image = Image.new("RGB", (_WIDTH_PX * _SCALE, _HEIGHT_PX * _SCALE), _BACKGROUND)
        self.pen = ImageDraw.Draw(self.image)
        cosines = [frame.cosine for frame in likeness.with_face]
        cosines += [max(each.other_cosines) for each in likeness.frames if each.other_cosines]
        self.low = min(0.0, min(cosines, default=0.0) - 0.08)

    def draw(self, note: str) -> Tensor:
        self._axes()
        self._bands()
        self._curve()
        self._words(note)
        small = self.image.resize((_WIDTH_PX, _HEIGHT_PX), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(small))

    def _x(self, index: float) -> float:
        last = self.likeness.num_frames - 1
        margin = 14
        share = index / last if last else 0.5
        return _LEFT + margin + share * (_RIGHT - _LEFT - 2 * margin)

    def _y(self, cosine: float) -> float:
        share = (max(min(cosine, 1.0), self.low) - self.low) / (1 - self.low)
        return _BOTTOM - share * (_BOTTOM - _TOP)

    def _axes(self) -> None:
        self._rectangle(_LEFT, _TOP, _RIGHT, _BOTTOM, _PANEL)
        for level in _LEVELS:
            if level < self.low:
                continue
            color = _ZERO if level == 0 else _GRID
            self._lines([(_LEFT, self._y(level)), (_RIGHT, self._y(level))], color, 1)
            self._text(_LEFT - 10, self._y(level), f"{level:.2f}", 15, _MUTED, "rm")
        for index in frame_ticks(self.likeness.num_frames, _NUM_TICKS):
            self._lines([(self._x(index), _BOTTOM), (self._x(index), _BOTTOM + 5)], _MUTED, 1)
            self._text(self._x(index), _BOTTOM + 10, str(index), 15, _MUTED, "mt")

    def _bands(self) -> None:
        """Draws a band over each run of frames without a face, half way to the frames beside it."""
        frames = self.likeness.frames
        for has_face, run in groupby(range(len(frames)), lambda i: frames[i].cosine is not None):
            places = list(run)
            if has_face:
                continue
            left, right = self._between(places[0] - 1), self._between(places[-1])
            self._rectangle(left, _TOP, right, _BOTTOM, _NO_FACE)
            x, y, arm = (left + right) / 2, _BOTTOM - 16, 5
            self._lines([(x - arm, y - arm), (x + arm, y + arm)], _NO_FACE_TEXT, 2)
            self._lines([(x - arm, y + arm), (x + arm, y - arm)], _NO_FACE_TEXT, 2)
            if right - left > _WORDS_PX:
                self._text(x, y - 14, "no face", 15, _NO_FACE_TEXT, "ms")

    def _between(self, place: int) -> float:
        """Where, from the left, the middle is between the `place`th frame that was looked at and
        the next one: an end of the axis where there is no such frame."""
        frames = self.likeness.frames
        if place < 0:
            return _LEFT
        if place + 1 == len(frames):
            return _RIGHT
        return (self._x(frames[place].index) + self._x(frames[place + 1].index)) / 2

    def _curve(self) -> None:
        if not self.likeness.with_face:
            return
        facesim_y = self._y(self.likeness.facesim)
        for left in range(_LEFT, _RIGHT, 14):
            self._lines([(left, facesim_y), (min(left + 7, _RIGHT), facesim_y)], _MUTED, 1.5)
        if (drift := self.likeness.drift) is not None:
            ends = self.likeness.with_face[0].index, self.likeness.with_face[-1].index
            self._lines([(self._x(end), self._y(drift.at(end))) for end in ends], _DRIFT, 1.5)
        for has_face, run in groupby(self.likeness.frames, lambda each: each.cosine is not None):
            points = [(self._x(each.index), self._y(each.cosine)) for each in run if has_face]
            if len(points) > 1:
                self._lines(points, _LINE, 2.5)
        radius = 5 if len(self.likeness.frames) <= 60 else 3
        for each in self.likeness.with_face:
            color = likeness_color(each.cosine)
            self._dot(self._x(each.index), self._y(each.cosine), radius, color)
        for each in self.likeness.frames:
            if each.other_cosines:
                self._ring(self._x(each.index), self._y(max(each.other_cosines)), radius)

    def _words(self, note: str) -> None:
        likeness = self.likeness
        self._text(_LEFT, 26, "FaceSim-Arc", 20, _MUTED, "ls")
        color = likeness_color(likeness.facesim if likeness.with_face else None)
        self._text(_LEFT, 84, f"{likeness.facesim:.3f}", 54, color, "ls")
        missing = len(likeness.frames) - len(likeness.with_face)
        seen = f"face in {len(likeness.with_face)} of {len(likeness.frames)} frames looked at"
        others = likeness.others
        if others.num_frames:
            seen += f", other people (rings) in {others.num_frames}"
        self._text(_RIGHT, 34, seen, 18, _NO_FACE_TEXT if missing else _TEXT, "rs")
        if (drift := likeness.drift) is not None:
            nearer = f" (another face nearer in {others.num_nearer})" if others.num_nearer else ""
            words = f" over 100 frames{nearer}   TIC {likeness.tic:.3f}"
            self._text(_RIGHT, 60, words, 18, _TEXT, "rs")
            left = _RIGHT - self._width(words, 18)
            self._text(left, 60, f"drift {drift}", 18, _DRIFT, "rs")
            words = f"lowest {likeness.worst.cosine:.3f} at frame {likeness.worst.index}"
            self._text(_RIGHT, 86, words, 18, _TEXT, "rs")
        elif not likeness.with_face:
            self._text(_RIGHT, 60, "no face found: nothing to compare", 18, _NO_FACE_TEXT, "rs")
        self._text(_LEFT, _HEIGHT_PX - 14, "frame", 15, _MUTED, "ls")
        self._text(_RIGHT, _HEIGHT_PX - 14, note, 15, _MUTED, "rs")

    def _lines(self, points: Sequence[tuple[float, float]], color: tuple, width: float) -> None:
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self.pen.line(scaled, color, round(width * _SCALE), joint="curve")

    def _rectangle(
        self, left: float, top: float, right: float, bottom: float, color: tuple
    ) -> None:
        self.pen.rectangle([side * _SCALE for side in (left, top, right, bottom)], color)

    def _dot(self, x: float, y: float, radius: float, color: tuple) -> None:
        for grown, fill in ((radius + 2, _PANEL), (radius, color)):
            corners = (x - grown, y - grown, x + grown, y + grown)
            self.pen.ellipse([side * _SCALE for side in corners], fill)

    def _ring(self, x: float, y: float, radius: float) -> None:
        corners = (x - radius, y - radius, x + radius, y + radius)
        self.pen.ellipse([side * _SCALE for side in corners], outline=_MUTED, width=2 * _SCALE)

    def _width(self, text: str, size_px: int) -> float:
        return self.pen.textlength(text, ImageFont.load_default(size_px * _SCALE)) / _SCALE

    def _text(self, x: float, y: float, text: str, size_px: int, color: tuple, anchor: str) -> None:
        font = ImageFont.load_default(size_px * _SCALE)
        shown = one_line(text)
        self.pen.text((x * _SCALE, y * _SCALE), shown, fill=color, font=font, anchor=anchor)


def frame_ticks(num_frames: int, count: int) -> list[int]:
    """About `count` frame numbers for an axis: multiples of 1, 2 or 5 times a power of ten."""
    if num_frames <= 1:
        return [0]
    raw = (num_frames - 1) / count
    power = 10 ** int(np.floor(np.log10(max(raw, 1))))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= raw)
    return list(range(0, num_frames, step))
