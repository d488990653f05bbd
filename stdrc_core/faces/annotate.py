"""Draws on frames what was found there: the face's box, coloured by its cosine, and the numbers.

It draws with Pillow, whose own font can be scaled with the frame.
"""

from __future__ import annotations

import colorsys

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .likeness import FrameLikeness

# From this cosine on the colour is green: ArcFace gives it for two photos of one person.
_SURE_COSINE = 0.7
_GREEN_HUE = 130 / 360
_GREY = (150, 154, 162)
_INK, _PAPER = (16, 17, 20), (255, 255, 255)

Color = tuple[int, int, int]


def likeness_color(cosine: float | None) -> Color:
    """Returns (red, green, blue): from red at cosine 0 over amber to green; grey without a face."""
    if cosine is None:
        return _GREY
    share = min(max(cosine / _SURE_COSINE, 0), 1)
    rgb = colorsys.hls_to_rgb(share * _GREEN_HUE, 0.52, 0.72)
    red, green, blue = (round(255 * level) for level in rgb)
    return red, green, blue


def annotate_frame(pixels: Tensor, frame: FrameLikeness) -> Tensor:
    """Returns a copy of a frame `[h, w, 3]` uint8 with its face's box and cosine and its number."""
    image = Image.fromarray(pixels.numpy())
    draw = ImageDraw.Draw(image)
    size_px = max(10, round(min(image.size) / 22))
    font = ImageFont.load_default(size_px)
    color = likeness_color(frame.cosine)
    if frame.face is None:
        _chip(draw, (0, 0), "no face", font, color)
    else:
        box = frame.face.face.box.tolist()
        draw_box(draw, box, color)
        _chip(draw, (box[0], box[1]), f"{frame.cosine:.2f}", font, color, above=True)
    _chip(draw, (0, image.height), f"frame {frame.index}", font, _INK, above=True)
    return torch.from_numpy(np.array(image))


def draw_box(draw: ImageDraw.ImageDraw, box: list[float], color: Color) -> None:
    """Draws a face's box with a dark rim, so that it is seen on any picture.

    `box` is left, top, right and bottom in pixels. A box turned inside out is not drawn.
    """
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        return
    width = max(1, round(min(draw.im.size) / 180))
    rim = (left - width, top - width, right + width, bottom + width)
    draw.rectangle(rim, outline=_INK, width=1)
    draw.rectangle((left, top, right, bottom), outline=color, width=width)


def _chip(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    color: Color,
    *,
    above: bool = False,
) -> None:
    """Draws a label with its top left corner at `corner`, moved so that it lies in the picture.

    With `above` it is the bottom left corner.
    """
    width, height = draw.im.size
    text_left, text_top, text_right, text_bottom = draw.textbbox((0, 0), text, font=font)
    margin = max(2, (text_bottom - text_top) // 4)
    chip_width, chip_height = text_right - text_left + 2 * margin, text_bottom + 2 * margin
    left = min(max(corner[0], 0), max(width - chip_width, 0))
    top = corner[1] - chip_height if above else corner[1]
    top = min(max(top, 0), max(height - chip_height, 0))
    draw.rectangle((left, top, left + chip_width, top + chip_height), fill=color)
    is_dark = sum(color) < 300
    ink = _PAPER if is_dark else _INK
    draw.text((left + margin - text_left, top + margin), text, fill=ink, font=font)
