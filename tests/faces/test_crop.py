"""The latent crop around faces, against what the warp really reads of an image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.faces.align import aligned_bounds, arcface_template, warp_face
from stdrc_core.faces.crop import face_crop

CELL_PX = 32
sides = st.integers(1, 8)


def faces(count: int, seed: int) -> Tensor:
    """`[N, 5, 2]`: the template turned, scaled, moved and a little bent; some beyond the frame."""
    random = np.random.default_rng(seed)
    points = []
    for _ in range(count):
        angle, size = random.uniform(-math.pi, math.pi), random.uniform(0.1, 1.5)
        turn = size * np.array(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        )
        bend = random.normal(0, 2, (5, 2))
        points.append((arcface_template().numpy() - 56 + bend) @ turn.T + random.uniform(0, 256, 2))
    return torch.from_numpy(np.stack(points))


def pixels_read(landmarks: Tensor, height_px: int, width_px: int) -> Tensor:
    """Where a pixel matters to the aligned faces, `[height, width]` bool: by its gradient."""
    images = torch.zeros(len(landmarks), 3, height_px, width_px, dtype=torch.float64)
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(warp_face(images, landmarks).sum(), images)
    return (gradient > 1e-9).any(dim=0).any(dim=0)


def corners(landmarks: Tensor) -> np.ndarray:
    """Corners `[N, 4, 2]` of the aligned squares in the image, by a least-squares solver."""
    target = arcface_template().numpy()
    found = []
    for points in landmarks.numpy():
        # (x, y) of the template to the image is another fit than its inverse: fit this way round.
        x, y = points.T
        zeros, ones = np.zeros(5), np.ones(5)
        rows = np.concatenate((np.stack((x, -y, ones, zeros), 1), np.stack((y, x, zeros, ones), 1)))
        a, b, *shift = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)[0]
        square = np.array([[0, 0], [111, 0], [0, 111], [111, 111]]) - shift
        found.append(np.linalg.solve([[a, -b], [b, a]], square.T).T)
    return np.stack(found)


@settings(deadline=None, max_examples=60)
@given(rows=sides, columns=sides, count=st.integers(1, 3), seed=st.integers(0, 9999))
def test_the_crop_holds_every_pixel_that_alignment_reads_and_no_cell_more(
    rows: int, columns: int, count: int, seed: int
):
    landmarks = faces(count, seed)
    found = face_crop(landmarks, rows, columns, margin=0)
    read = pixels_read(landmarks, rows * CELL_PX, columns * CELL_PX)
    cells = read.unflatten(0, (rows, CELL_PX)).unflatten(2, (columns, CELL_PX)).any(3).any(1)
    outside = cells.clone()
    outside[found] = False
    assert not outside.any()
    points = corners(landmarks)
    is_inside = (points >= 0).all() and (points <= np.array([columns, rows]) * CELL_PX - 1).all()
    for crop, axis, size in zip(found, (1, 0), (rows, columns), strict=True):
        assert 0 <= crop.start < crop.stop <= size
        assert crop.stop - crop.start >= min(2, size)
        # What hangs over the edge of the frame is not read, but counts for the box.
        if is_inside and crop.stop - crop.start > 2:
            used = cells.any(dim=axis).nonzero()[:, 0]
            assert (used.min(), used.max()) == (crop.start, crop.stop - 1)


@settings(deadline=None, max_examples=60)
@given(margin=st.integers(0, 6), count=st.integers(1, 3), seed=st.integers(0, 9999))
def test_the_crop_holds_the_faces_and_the_margin_as_far_as_the_frame_goes(
    margin: int, count: int, seed: int
):
    landmarks, size = faces(count, seed), 8
    rows, columns = face_crop(landmarks, size, size, margin=margin)
    points = corners(landmarks)
    first = points.min(axis=(0, 1)) - margin * CELL_PX
    last = points.max(axis=(0, 1)) + margin * CELL_PX
    for crop, low_px, high_px in zip((columns, rows), first, last, strict=True):
        assert 0 <= crop.start < crop.stop <= size
        assert crop.start * CELL_PX <= max(low_px, 0) + 1e-6 or crop.start == size - 2
        assert crop.stop * CELL_PX >= min(high_px, size * CELL_PX) - 1e-6 or crop.stop == 2


def test_a_known_face_has_known_cells():
    landmarks = arcface_template()[None] + torch.tensor([64.5, 32.5])
    torch.testing.assert_close(
        aligned_bounds(landmarks), torch.tensor([[64.5, 32.5, 175.5, 143.5]], dtype=torch.float64)
    )
    # Pixel columns 64 to 176 and rows 32 to 144.
    assert face_crop(landmarks, 10, 10, margin=0) == (slice(1, 5), slice(2, 6))
    assert face_crop(landmarks, 10, 10, margin=2) == (slice(0, 7), slice(0, 8))


@pytest.mark.parametrize("shift", [-5000.0, 5000.0])
def test_a_face_beyond_the_frame_leaves_two_cells_at_the_edge(shift: float):
    rows, columns = face_crop(arcface_template()[None] + shift, 5, 6, margin=0)
    assert (rows, columns) == (
        (slice(0, 2), slice(0, 2)) if shift < 0 else (slice(3, 5), slice(4, 6))
    )
