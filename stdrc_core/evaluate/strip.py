"""Draws a clip as one picture: its photos, then a few of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from ..faces.similarity import spread
from ..photo_file import load_opaque_photo
from ..uint8 import to_uint8

_NUM_FRAMES = 6
_HEIGHT_PX, _GAP_PX = 144, 2
# A photo may be a panorama; it must not outgrow the frames.
_MAX_PHOTO_WIDTH_PX = 216


class Strip:
    """Gathers frames of one clip as they go by, and keeps them small."""

    def __init__(self, num_frames: int) -> None:
        self.wanted = frozenset(spread(num_frames, _NUM_FRAMES))
        self._tiles: list[Image.Image] = []

    def see(self, frame: Tensor) -> None:
        """Takes in one of the `wanted` frames, `[h, w, 3]` uint8."""
        self._tiles.append(_tile(Image.fromarray(frame.numpy())))

    def picture(self, photos: Sequence[Path]) -> Image.Image:
        """The photos and the frames in a row; a photo that cannot be read is left out."""
        tiles = [*(tile for photo in photos for tile in _photo(photo)), *self._tiles]
        width = sum(tile.width + _GAP_PX for tile in tiles) - _GAP_PX
        row = Image.new("RGB", (width, _HEIGHT_PX), (128, 128, 128))
        left = 0
        for tile in tiles:
            row.paste(tile, (left, 0))
            left += tile.width + _GAP_PX
        return row


def _photo(path: Path) -> list[Image.Image]:
    try:
        pixels = to_uint8(load_opaque_photo(path))[0]
    except ValueError:
        # FaceSim tells why; the picture does without the photo.
        return []
    tile = _tile(Image.fromarray(pixels.numpy()))
    if tile.width > _MAX_PHOTO_WIDTH_PX:
        left = (tile.width - _MAX_PHOTO_WIDTH_PX) // 2
        tile = tile.crop((left, 0, left + _MAX_PHOTO_WIDTH_PX, tile.height))
    return [tile]


def _tile(image: Image.Image) -> Image.Image:
    width = max(1, round(image.width * _HEIGHT_PX / image.height))
    return image.resize((width, _HEIGHT_PX), Image.Resampling.BICUBIC)
