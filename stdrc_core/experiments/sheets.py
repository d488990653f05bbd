"""Draws contact sheets of what a table compares: photos beside frames of each row's clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..contact_sheet import contact_sheet
from ..faces.similarity import spread
from ..method.reference import fit_reference
from ..mini.drawing import SIDE_PX
from ..uint8 import to_uint8

# Grey levels of the gap between two halves of a line, and its width.
_GAP_LEVEL, _GAP_PX = 0, 8


def compare_rows(
    path: Path,
    photos: Sequence[Sequence[Tensor]],
    captions: Sequence[str],
    rows: Mapping[str, Sequence[Tensor]],
    *,
    num_frames: int,
) -> None:
    """Writes a picture with a line for each of `captions`.

    A line shows the caption's photos `[1, h, w, 3]` in [0, 1], of which all captions have equally
    many, and then, for each of `rows`, `num_frames` frames of its clip `[F, H, W, 3]` uint8.
    """
    lines = []
    for i in range(len(captions)):
        clips = [own[i] for own in rows.values()]
        lines.append(_line(photos[i], clips, num_frames))
    order = ", ".join(("photo" if len(photos[0]) == 1 else "photos", *rows))
    contact_sheet(
        path,
        lines,
        labels=[f"{order}: {caption}" for caption in captions],
        num_columns=len(photos[0]) + num_frames * len(rows),
        tile_height=SIDE_PX,
    )


def two_columns(
    path: Path, photos: Sequence[Tensor], clips: Sequence[Tensor], *, num_frames: int
) -> None:
    """Writes a picture with two persons a line, each as a photo `[1, h, w, 3]` in [0, 1] and
    `num_frames` frames of the clip `[F, H, W, 3]` uint8; of an odd number the last is left out."""
    halves = [
        _strip(_line([photo], [clip], num_frames))
        for photo, clip in zip(photos, clips, strict=True)
    ]
    gap = torch.full((SIDE_PX, _GAP_PX, 3), _GAP_LEVEL, dtype=torch.uint8)
    lines = [
        torch.cat((left, gap, right), dim=1)[None]
        for left, right in zip(halves[::2], halves[1::2], strict=False)
    ]
    contact_sheet(path, lines, num_columns=1, tile_height=SIDE_PX)


def _line(photos: Sequence[Tensor], clips: Sequence[Tensor], num_frames: int) -> Tensor:
    """Tiles `[N, SIDE_PX, SIDE_PX, 3]` uint8: the photos, then frames of the clips."""
    tiles = [to_uint8(fit_reference(photo, SIDE_PX, SIDE_PX)) for photo in photos]
    tiles += [clip[spread(len(clip), num_frames)] for clip in clips]
    return torch.cat(tiles)


def _strip(tiles: Tensor) -> Tensor:
    """The tiles `[N, h, w, 3]` side by side: `[h, N w, 3]`."""
    return torch.cat(tiles.unbind(), dim=1)
