"""The face detail pass of a first frame: its face enlarged, partly sampled anew, and put back.

A face that is small in the frame has few latent steps. So the region around it is enlarged to the
frame's own size, noised to a given sigma, and sampled from that sigma on with the photo in context.
The pass is ours, not the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..faces.detector import Face
from ..faces.finder import FaceFinder
from ..faces.photo import crop_box
from ..faces.similarity import cosines, frame_cosines, largest_faces
from ..uint8 import to_uint8
from .pipeline import Pipeline, Shot

# How much is kept around the face's box on each side, as a share of its longer side.
_MARGIN = 0.5
# How wide the seam is in which the new face fades in, as a share of the region's shorter side.
_SEAM = 0.15

# Left, top, right and bottom in whole pixels; right and bottom are the first ones outside.
Region = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Detailed:
    """A frame after the pass."""

    frame: Tensor
    """Its pixels, `[h, w, 3]` in [0, 1]."""
    facts: dict[str, Any]
    """What the result file tells: sigma, region, cosines before and after, and if it was kept."""


def detail_face(
    pipeline: Pipeline,
    frame: Tensor,
    photo: Tensor | Sequence[Tensor],
    context: Tensor,
    shot: Shot,
    sigma: float,
    faces: FaceFinder,
    e_ref: Tensor | None,
) -> Detailed:
    """Makes the largest face of `frame` `[h, w, 3]` in [0, 1] anew from `sigma` on, in (0, 1).

    `photo` `[1, h, w, 3]` in [0, 1] is in context, or several photos of the person, and `context`
    `[L, D]` embeds the spatial prompt. The frame stays as it is if no face is found in it, or if
    the new face is less like `e_ref` `[D]` than the old one.
    """
    (found,) = largest_faces(to_uint8(frame)[None], faces)
    if found is None:
        return Detailed(frame=frame, facts={"sigma": sigma, "region": None, "is_kept": False})
    region = detail_region(found.face, *frame.shape[:2])
    drafts = _resized(cut(frame, region)[None], *frame.shape[:2])
    still = replace(shot, num_frames=1)
    made = pipeline.many(
        [photo], context[None], still, [shot.seed], drafts=drafts, draft_sigma=sigma
    )[0, 0]
    changed = put_back(frame, made, region)
    facts: dict[str, Any] = {"sigma": sigma, "region": list(region), "is_kept": True}
    if e_ref is not None:
        (before,) = cosines([found], e_ref)
        (after,) = frame_cosines(to_uint8(changed)[None], e_ref, faces)
        is_kept = after is not None and after >= before
        facts |= {"before": before, "after": after, "is_kept": is_kept}
    return Detailed(frame=changed if facts["is_kept"] else frame, facts=facts)


def detail_region(face: Face, height: int, width: int) -> Region:
    """Returns the smallest region of the frame's proportions that holds the face with its margin.

    The frame has `height` x `width` pixels; what of the face or margin is outside is left out.
    """
    left, top, right, bottom = crop_box(face, _MARGIN, height, width)
    share = max((right - left) / width, (bottom - top) / height)
    sides = [min(full, round(share * full)) for full in (width, height)]
    starts = [
        min(max(round((low + high - side) / 2), 0), full - side)
        for low, high, side, full in zip(
            (left, top), (right, bottom), sides, (width, height), strict=True
        )
    ]
    return starts[0], starts[1], starts[0] + sides[0], starts[1] + sides[1]


def cut(frame: Tensor, region: Region) -> Tensor:
    """Returns the region of a frame `[h, w, 3]`."""
    left, top, right, bottom = region
    return frame[top:bottom, left:right]


def put_back(frame: Tensor, made: Tensor, region: Region) -> Tensor:
    """Returns `frame` `[h, w, 3]` with `made` in the place of the region.

    `made` `[h', w', 3]` may have any size and is scaled to the region's. It fades in along the
    region's sides, except for those on the frame's edge.
    """
    left, top, right, bottom = region
    height, width = bottom - top, right - left
    num_px = max(1, round(_SEAM * min(height, width)))
    rows = _fade(height, num_px, at_start=top > 0, at_end=bottom < frame.shape[0])
    columns = _fade(width, num_px, at_start=left > 0, at_end=right < frame.shape[1])
    share = (rows[:, None] * columns)[..., None]
    result = frame.clone()
    small = _resized(made[None], height, width)[0]
    result[top:bottom, left:right] = torch.lerp(cut(frame, region), small, share)
    return result


def _fade(size: int, num_px: int, *, at_start: bool, at_end: bool) -> Tensor:
    """Returns shares `[size]`: 1 inside, and rising from near 0 over `num_px` at a faded end."""
    ramp = (torch.arange(size) + 1.0) / (num_px + 1)
    share = torch.ones(size)
    for is_faded, each in ((at_start, ramp), (at_end, ramp.flip(0))):
        if is_faded:
            share = share * each.clamp(max=1)
    return share


def _resized(pictures: Tensor, height: int, width: int) -> Tensor:
    """Returns pictures `[B, h, w, 3]` in [0, 1] scaled to `height` x `width` pixels."""
    scaled = F.interpolate(
        pictures.movedim(-1, 1), size=(height, width), mode="bicubic", antialias=True
    )
    return scaled.movedim(1, -1).clamp(0, 1)
