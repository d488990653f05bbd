"""Draws a sheet with a row of frames for each clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from .files import written_aside
from .shown_text import one_line

_LABEL_PX = 14
_JPEG_QUALITY = 90


def contact_sheet(
    path: str | Path,
    clips: Sequence[Tensor],
    *,
    labels: Sequence[str] = (),
    num_columns: int = 6,
    tile_height: int = 160,
) -> Path:
    """Writes a picture with a row of frames for each clip, and returns its path.

    It is a JPEG where the path ends in .jpg, else a PNG.

    The clips are `[F, H, W, 3]` uint8. A row has up to `num_columns` frames of a clip, spread
    evenly over time; a photo is a clip of one frame. `labels` stand over the rows. Raises
    ValueError without clips.
    """
    if not clips:
        raise ValueError("clips were empty; a contact sheet needs at least one clip.")
    rows = [_tiles(clip, num_columns, tile_height) for clip in clips]
    sheet_width = max(sum(tile.width for tile in row) for row in rows)
    row_height = tile_height + (_LABEL_PX if labels else 0)
    sheet = Image.new("RGB", (sheet_width, row_height * len(rows)))
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        if i < len(labels):
            draw.text((2, i * row_height), one_line(labels[i]))
        left = 0
        for tile in row:
            sheet.paste(tile, (left, (i + 1) * row_height - tile_height))
            left += tile.width
    with written_aside(path) as partial:
        if Path(path).suffix == ".jpg":
            sheet.save(partial, format="JPEG", quality=_JPEG_QUALITY)
        else:
            sheet.save(partial, format="PNG")
    return Path(path)


def _tiles(clip: Tensor, num_columns: int, height: int) -> list[Image.Image]:
    num_frames = clip.shape[0]
    indices = np.linspace(0, num_frames - 1, min(num_columns, num_frames)).round().astype(int)
    width = max(1, round(clip.shape[2] * height / clip.shape[1]))
    images = (Image.fromarray(clip[int(i)].cpu().numpy()) for i in indices)
    return [image.resize((width, height), Image.Resampling.BICUBIC) for image in images]
