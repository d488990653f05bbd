"""Eq. 3-4: boxes of video and reference tokens against docs/method.md section 3 and diffusers."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers.models.transformers.transformer_ltx2 import LTX2AudioVideoRotaryPosEmbed
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.method.grid import (
    LatentGrid,
    ScaleFactors,
    latent_bounds,
    to_pixel_bounds,
    to_seconds,
)
from stdrc_core.method.layout import Placement, reference_origin, reference_pixel_bounds

CPU = torch.device("cpu")

sizes = st.builds(
    LatentGrid,
    num_frames=st.integers(1, 12),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
scales = st.builds(
    ScaleFactors,
    time=st.sampled_from((1, 4, 8)),
    height=st.sampled_from((8, 16, 32)),
    width=st.sampled_from((8, 16, 32)),
)
frame_rates = st.one_of(
    st.sampled_from((8.0, 23.976, 24, 25.0, 29.97, 30, 60.0)), st.floats(0.5, 240.0)
)


def spec_box(t: int, i: int, j: int, *, causal: bool, scale: ScaleFactors) -> list[tuple[int, int]]:
    """Section 3: multiply by the scale; on time max(0, 8 t + 1 - 8) where the VAE is causal."""

    def frame(latent_time: int) -> int:
        start = scale.time * latent_time
        return max(0, start + 1 - scale.time) if causal else start

    return [
        (frame(t), frame(t + 1)),
        (scale.height * i, scale.height * (i + 1)),
        (scale.width * j, scale.width * (j + 1)),
    ]


def as_tokens(boxes: list[list[tuple[int, int]]]) -> Tensor:
    return torch.tensor(boxes, dtype=torch.int64).transpose(0, 1)


def diffusers_boxes(
    grid: LatentGrid, frame_rate: float, scale: ScaleFactors | None = None
) -> Tensor:
    """`[3, T, H, W, 2]` seconds and pixels, as diffusers' LTX-2 makes them."""
    scale = scale or ScaleFactors()
    rope = LTX2AudioVideoRotaryPosEmbed(
        dim=128, scale_factors=(scale.time, scale.height, scale.width), causal_offset=1
    )
    boxes = rope.prepare_video_coords(
        1, grid.num_frames, grid.height, grid.width, device=CPU, fps=frame_rate
    )
    return boxes[0].unflatten(1, (grid.num_frames, grid.height, grid.width))


def meets(first: Tensor, second: Tensor) -> list[bool]:
    """Per axis: does any [start, end) of `first` overlap any of `second`?"""
    a, b = first[:, :, None, :], second[:, None, :, :]
    overlap = (a[..., 0] < b[..., 1]) & (b[..., 0] < a[..., 1])
    return overlap.flatten(1).any(dim=1).tolist()


@settings(deadline=None, max_examples=40)
@given(grid=sizes, scale=scales, causal=st.booleans())
def test_video_boxes_are_the_formula_for_every_token(
    grid: LatentGrid, scale: ScaleFactors, causal: bool
):
    expected = [
        spec_box(t, i, j, causal=causal, scale=scale)
        for t in range(grid.num_frames)
        for i in range(grid.height)
        for j in range(grid.width)
    ]
    boxes = to_pixel_bounds(latent_bounds(grid), scale=scale, causal=causal)
    assert boxes.shape == (3, grid.num_tokens, 2)
    assert (boxes - as_tokens(expected)).abs().max() == 0


@settings(deadline=None, max_examples=60)
@given(grid=sizes, scale=scales, causal=st.booleans())
def test_tass_stands_at_t_h_plus_i_w_plus_j(grid: LatentGrid, scale: ScaleFactors, causal: bool):
    expected = [
        spec_box(grid.num_frames, grid.height + i, grid.width + j, causal=causal, scale=scale)
        for i in range(grid.height)
        for j in range(grid.width)
    ]
    boxes = reference_pixel_bounds(grid, Placement.TASS, scale=scale, causal=causal)
    assert boxes.shape == (3, grid.tokens_per_frame, 2)
    assert (boxes - as_tokens(expected)).abs().max() == 0


def test_the_official_size_gives_the_bounds_of_the_spec_written_out():
    # 121 frames of 768 x 1280: T, H, W = 16, 24, 40.
    boxes = reference_pixel_bounds(LatentGrid(num_frames=16, height=24, width=40))
    assert boxes[:, 0].tolist() == [[121, 129], [768, 800], [1280, 1312]]
    assert boxes[:, -1].tolist() == [[121, 129], [1504, 1536], [2528, 2560]]
    assert boxes[:, 1].tolist() == [[121, 129], [768, 800], [1312, 1344]]


@settings(deadline=None, max_examples=60)
@given(grid=sizes, frame_rate=frame_rates, scale=scales)
def test_video_boxes_equal_diffusers_in_seconds_and_pixels(
    grid: LatentGrid, frame_rate: float, scale: ScaleFactors
):
    ours = to_seconds(to_pixel_bounds(latent_bounds(grid), scale=scale), frame_rate)
    theirs = diffusers_boxes(grid, frame_rate, scale).flatten(1, 3)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, theirs)


@settings(deadline=None, max_examples=60)
@given(grid=sizes, frame_rate=frame_rates)
def test_tass_equals_diffusers_far_corner_of_a_grid_one_frame_longer_and_twice_as_wide(
    grid: LatentGrid, frame_rate: float
):
    bigger = LatentGrid(
        num_frames=grid.num_frames + 1, height=2 * grid.height, width=2 * grid.width
    )
    corner = diffusers_boxes(bigger, frame_rate)[:, grid.num_frames, grid.height :, grid.width :]
    ours = to_seconds(reference_pixel_bounds(grid), frame_rate)
    assert torch.equal(ours, corner.flatten(1, 2))


@settings(deadline=None, max_examples=60)
@given(grid=sizes, causal=st.booleans())
def test_tass_shares_no_interval_with_any_video_token_on_any_axis(grid: LatentGrid, causal: bool):
    video = latent_bounds(grid)
    reference = latent_bounds(
        LatentGrid(num_frames=1, height=grid.height, width=grid.width),
        origin=reference_origin(grid, Placement.TASS),
    )
    assert meets(video, reference) == [False, False, False]
    pixels = to_pixel_bounds(video, causal=causal)
    assert meets(pixels, reference_pixel_bounds(grid, causal=causal)) == [False, False, False]


@pytest.mark.parametrize(
    ("placement", "shared"),
    [
        (Placement.TASS, [False, False, False]),
        (Placement.OVERLAP, [True, True, True]),
        (Placement.TEMPORAL_ONLY, [False, True, True]),
        (Placement.SPATIAL_ONLY, [True, False, False]),
    ],
)
@settings(deadline=None, max_examples=25)
@given(grid=sizes)
def test_each_placement_shares_exactly_the_axes_of_its_name(
    placement: Placement, shared: list[bool], grid: LatentGrid
):
    video = to_pixel_bounds(latent_bounds(grid))
    assert meets(video, reference_pixel_bounds(grid, placement)) == shared


@settings(deadline=None, max_examples=25)
@given(grid=sizes)
def test_overlap_lies_on_the_first_video_frame(grid: LatentGrid):
    first_frame = diffusers_boxes(grid, 1.0)[:, 0].flatten(1, 2)
    assert torch.equal(reference_pixel_bounds(grid, Placement.OVERLAP).float(), first_frame)


@settings(deadline=None, max_examples=25)
@given(grid=sizes)
def test_temporal_only_lies_on_the_frame_after_the_video_and_inside_its_area(grid: LatentGrid):
    longer = LatentGrid(num_frames=grid.num_frames + 1, height=grid.height, width=grid.width)
    next_frame = diffusers_boxes(longer, 1.0)[:, -1].flatten(1, 2)
    assert torch.equal(reference_pixel_bounds(grid, Placement.TEMPORAL_ONLY).float(), next_frame)


@settings(deadline=None, max_examples=25)
@given(grid=sizes)
def test_spatial_only_lies_on_the_first_frame_and_beside_the_video(grid: LatentGrid):
    wider = LatentGrid(num_frames=1, height=2 * grid.height, width=2 * grid.width)
    beside = diffusers_boxes(wider, 1.0)[:, 0, grid.height :, grid.width :].flatten(1, 2)
    assert torch.equal(reference_pixel_bounds(grid, Placement.SPATIAL_ONLY).float(), beside)


@pytest.mark.parametrize("placement", Placement)
@settings(deadline=None, max_examples=25)
@given(grid=sizes)
def test_inner_geometry_of_the_reference_is_that_of_any_video_frame(
    placement: Placement, grid: LatentGrid
):
    """Differences between the starts of every two tokens are those inside a latent frame."""
    reference = reference_pixel_bounds(grid, placement, frame_rate=24)
    frame = to_pixel_bounds(latent_bounds(grid))[:, : grid.tokens_per_frame]
    for boxes in (reference, frame):
        assert (boxes[1:, :, 1] - boxes[1:, :, 0]).unique().tolist() == [32]
    pairwise = [
        (boxes[..., 0][:, :, None] - boxes[..., 0][:, None, :]).float()
        for boxes in (reference, frame)
    ]
    assert torch.equal(*pairwise)


@settings(deadline=None, max_examples=60)
@given(num_frames=st.integers(1, 400), causal=st.booleans())
def test_the_reference_begins_where_a_video_of_any_length_ends(num_frames: int, causal: bool):
    grid = LatentGrid(num_frames=num_frames, height=1, width=2)
    video = to_pixel_bounds(latent_bounds(grid), causal=causal)
    time = reference_pixel_bounds(grid, causal=causal)[0]
    assert time[:, 0].unique().tolist() == [video[0].max()]
    # One latent frame long, and the video of T latent frames has 8 (T - 1) + 1 pixel frames.
    assert (time[:, 1] - time[:, 0]).unique().tolist() == [8]
    assert video[0].max() == (8 * (num_frames - 1) + 1 if causal else 8 * num_frames)


def test_a_token_of_a_non_causal_vae_is_eight_whole_frames_from_the_start():
    grid = LatentGrid(num_frames=3, height=1, width=1)
    video = to_pixel_bounds(latent_bounds(grid), causal=False)
    assert video[0].tolist() == [[0, 8], [8, 16], [16, 24]]
    assert reference_pixel_bounds(grid, causal=False)[0].tolist() == [[24, 32]]


def test_tass_is_the_placement_unless_another_is_asked_for():
    grid = LatentGrid(num_frames=2, height=3, width=4)
    assert torch.equal(reference_pixel_bounds(grid), reference_pixel_bounds(grid, Placement.TASS))
    assert not torch.equal(
        reference_pixel_bounds(grid), reference_pixel_bounds(grid, Placement.OVERLAP)
    )


def test_turning_bounds_into_pixels_and_seconds_leaves_the_argument_as_it_was():
    bounds = latent_bounds(LatentGrid(num_frames=3, height=2, width=2))
    for given_bounds in (bounds, bounds.float()):
        before = given_bounds.clone()
        to_pixel_bounds(given_bounds)
        to_seconds(given_bounds, 25.0)
        assert torch.equal(given_bounds, before)


@settings(deadline=None, max_examples=25)
@given(grid=sizes, frame_rate=frame_rates)
def test_only_the_time_axis_depends_on_the_frame_rate(grid: LatentGrid, frame_rate: float):
    pixels = reference_pixel_bounds(grid)
    boxes = to_seconds(pixels, frame_rate)
    assert torch.equal(boxes[1:].long(), pixels[1:])
    assert boxes[0].double().flatten().tolist() == pytest.approx(
        [frame / frame_rate for frame in pixels[0].flatten().tolist()], rel=1e-6
    )


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.parametrize("field", ["num_frames", "height", "width"])
def test_a_grid_without_tokens_is_refused_by_the_name_of_the_field(field: str, size: int):
    with pytest.raises(ValueError, match=rf"{field}\b.* {size};"):
        LatentGrid(**{"num_frames": 2, "height": 3, "width": 4, field: size})


@pytest.mark.parametrize("frame_rate", [0, -24.0, math.nan])
def test_a_frame_rate_that_is_not_positive_is_refused_with_its_value(frame_rate: float):
    boxes = reference_pixel_bounds(LatentGrid(num_frames=1, height=1, width=1))
    with pytest.raises(ValueError, match=f"frame_rate was {frame_rate};"):
        to_seconds(boxes, frame_rate)
