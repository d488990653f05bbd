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


def compare_rows(
    path: Path,
    photos: Sequence[Sequence[Tensor]],
    captions: Sequence[str],
    rows: Mapping[str, Sequence[Tensor]],
    *,
    num_frames: int,
) -> None:
    """Writes a PNG with a line for each of `captions`.

    A line shows the caption's photos `[1, h, w, 3]` in [0, 1], of which all captions have equally
    many, and then, for each of `rows`, `num_frames` frames of its clip `[F, H, W, 3]` uint8.
    """
    lines = []
    for i in range(len(captions)):
        tiles = [to_uint8(fit_reference(photo, SIDE_PX, SIDE_PX)) for photo in photos[i]]
        tiles += [clips[i][spread(len(clips[i]), num_frames)] for clips in rows.values()]
        lines.append(torch.cat(tiles))
    order = ", ".join(("photo" if len(photos[0]) == 1 else "photos", *rows))
    contact_sheet(
        path,
        lines,
        labels=[f"{order}: {caption}" for caption in captions],
        num_columns=len(photos[0]) + num_frames * len(rows),
        tile_height=SIDE_PX,
    )
