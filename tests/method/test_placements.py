"""The placements of public adapters, and several references: closed forms, and nothing collides."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from helpers.tiny_ltx import LTX_2_3, build_attentive, random_inputs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.ltx.backbone import VideoBackbone
from stdrc_core.method.grid import LatentGrid, latent_bounds, to_pixel_bounds
from stdrc_core.method.layout import Placement, reference_pixel_bounds

sizes = st.builds(
    LatentGrid, num_frames=st.integers(1, 9), height=st.integers(1, 5), width=st.integers(1, 5)
)
frame_rates = st.sampled_from((8.0, 23.976, 24.0, 25.0, 30.0, 60.0))
slots = st.integers(0, 4)


def clip_frames(grid: LatentGrid) -> int:
    """A clip of T latent frames has 8 (T - 1) + 1 pixel frames."""
    return 8 * (grid.num_frames - 1) + 1


def boxes(grid: LatentGrid, row: int, column: int, time: tuple[float, float]) -> Tensor:
    """Tokens of a photo whose corner is at (row, column), in pixels by plain counting."""
    cells = list(product(range(row, row + grid.height), range(column, column + grid.width)))
    return torch.tensor(
        [
            [time for _ in cells],
            [(32 * i, 32 * i + 32) for i, _ in cells],
            [(32 * j, 32 * j + 32) for _, j in cells],
        ],
        dtype=torch.float64,
    )


@settings(deadline=None, max_examples=50)
@given(grid=sizes, slot=slots, frame_rate=frame_rates)
def test_strata_is_an_instant_after_the_video_and_lies_on_its_area(
    grid: LatentGrid, slot: int, frame_rate: float
):
    got = reference_pixel_bounds(grid, Placement.STRATA, slot=slot, frame_rate=frame_rate)
    instant = clip_frames(grid) + (slot + 1) * 1.5 * frame_rate
    assert torch.allclose(got, boxes(grid, 0, 0, (instant, instant)), rtol=1e-12)


@settings(deadline=None, max_examples=50)
@given(grid=sizes, slot=slots)
def test_sidecar_stands_beside_the_video_for_the_whole_clip(grid: LatentGrid, slot: int):
    got = reference_pixel_bounds(grid, Placement.SIDECAR, slot=slot)
    expected = boxes(grid, 0, (slot + 1) * grid.width, (0, clip_frames(grid)))
    assert torch.equal(got.double(), expected)
    # Of the video's height, it is centred on it.
    assert got[1].min() == 0
    assert got[1].max() == 32 * grid.height


@settings(deadline=None, max_examples=50)
@given(grid=sizes, slot=slots)
def test_bfs_st_drc_begins_on_the_last_token_before_it(grid: LatentGrid, slot: int):
    got = reference_pixel_bounds(grid, Placement.BFS_ST_DRC, slot=slot)
    before = to_pixel_bounds(latent_bounds(grid))
    if slot:
        before = reference_pixel_bounds(grid, Placement.BFS_ST_DRC, slot=slot - 1)
    assert torch.equal(got[:, 0], before[:, -1])
    if grid.tokens_per_frame > 1:
        tass = reference_pixel_bounds(grid, Placement.TASS)
        assert not torch.equal(got, tass)


@settings(deadline=None, max_examples=50)
@given(grid=sizes, slot=slots)
def test_the_source_phase_overlap_stands_where_the_overlap_does(grid: LatentGrid, slot: int):
    got = reference_pixel_bounds(grid, Placement.OVERLAP_SOURCE_PHASE, slot=slot)
    assert torch.equal(got, reference_pixel_bounds(grid, Placement.OVERLAP))
    assert torch.equal(got.double(), boxes(grid, 0, 0, (0, 1)))


@settings(deadline=None, max_examples=50)
@given(grid=sizes, slot=slots, num_more=st.integers(1, 4), num_frames=st.integers(1, 5))
def test_before_clip_begins_as_many_frames_before_it_as_slots_are_left(
    grid: LatentGrid, slot: int, num_more: int, num_frames: int
):
    """Each is a clip of its own that begins early: latent frame f > 0 holds 8 pixel frames."""
    got = reference_pixel_bounds(
        grid,
        Placement.BEFORE_CLIP,
        slot=slot,
        num_slots=slot + num_more,
        num_frames=num_frames,
    )
    times = [(0, 1), *((8 * f - 7, 8 * f + 1) for f in range(1, num_frames))]
    expected = [boxes(grid, 0, 0, (a - num_more, b - num_more)) for a, b in times]
    assert torch.equal(got.double(), torch.cat(expected, dim=1))
    alone = reference_pixel_bounds(grid, Placement.BEFORE_CLIP, slot=slot)
    assert alone[0].min() == -1


@settings(deadline=None, max_examples=50)
@given(grid=sizes)
def test_an_overlapping_clip_of_the_videos_length_stands_on_the_video(grid: LatentGrid):
    got = reference_pixel_bounds(grid, Placement.OVERLAP, num_frames=grid.num_frames)
    assert torch.equal(got, to_pixel_bounds(latent_bounds(grid)))


@settings(deadline=None, max_examples=50)
@given(grid=sizes, slot=slots)
def test_a_slot_of_tass_is_its_own_square_of_the_diagonal(grid: LatentGrid, slot: int):
    got = reference_pixel_bounds(grid, Placement.TASS, slot=slot)
    time = (max(0, 8 * grid.num_frames - 7), 8 * grid.num_frames + 1)
    expected = boxes(grid, (slot + 1) * grid.height, (slot + 1) * grid.width, time)
    assert torch.equal(got.double(), expected)


@pytest.mark.parametrize("placement", Placement)
@settings(deadline=None, max_examples=15)
@given(grid=sizes, offset=st.integers(-16, 16), slot=slots)
def test_a_temporal_offset_moves_whole_latent_steps_in_time_alone(
    placement: Placement, grid: LatentGrid, offset: int, slot: int
):
    plain, moved = (
        reference_pixel_bounds(grid, placement, slot=slot, frame_rate=24, temporal_offset=steps)
        for steps in (0, offset)
    )
    assert torch.equal(moved[1:], plain[1:])
    assert (moved[0] - plain[0]).unique().tolist() == [8 * offset]


def positions(bounds: Tensor) -> list[tuple[float, ...]]:
    """What the RoPE sees of each token: the middle of its box."""
    return [tuple(token) for token in bounds.double().mean(dim=-1).T.tolist()]


@pytest.mark.parametrize("placement", [p for p in Placement if p.keeps_apart])
@settings(deadline=None, max_examples=40)
@given(grid=sizes, num_references=st.integers(1, 4), frame_rate=frame_rates)
@example(grid=LatentGrid(num_frames=1, height=1, width=1), num_references=4, frame_rate=8.0)
def test_no_two_tokens_have_one_position(
    placement: Placement, grid: LatentGrid, num_references: int, frame_rate: float
):
    everything = positions(to_pixel_bounds(latent_bounds(grid)))
    for slot in range(num_references):
        own = reference_pixel_bounds(
            grid, placement, slot=slot, num_slots=num_references, frame_rate=frame_rate
        )
        everything += positions(own)
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize("placement", [p for p in Placement if not p.keeps_apart])
@settings(deadline=None, max_examples=15)
@given(grid=sizes)
def test_the_others_do_lie_on_the_video(placement: Placement, grid: LatentGrid):
    """Guards the test above, whose placements are chosen by the code."""
    video = set(positions(to_pixel_bounds(latent_bounds(grid))))
    assert video & set(positions(reference_pixel_bounds(grid, placement)))


@pytest.mark.parametrize("frame_rate", [None, 0, -24.0, math.nan, math.inf])
def test_strata_without_a_frame_rate_is_refused(frame_rate: float | None):
    grid = LatentGrid(num_frames=1, height=1, width=1)
    with pytest.raises(ValueError, match=f"frame_rate was {frame_rate}; placement strata"):
        reference_pixel_bounds(grid, Placement.STRATA, frame_rate=frame_rate)


@pytest.mark.parametrize("placement", Placement)
def test_the_order_of_references_that_keep_their_slots_does_not_matter(placement: Placement):
    backbone = VideoBackbone(build_attentive(LTX_2_3))
    video, t, context, first = random_inputs(backbone.context_dim)
    references = [first, -first, first.flip(-1)]

    def velocity(order: list[int], slots: list[int]) -> Tensor:
        with torch.no_grad():
            return backbone(
                video,
                t,
                context,
                frame_rate=24.0,
                reference=torch.cat([references[n] for n in order], dim=2),
                placement=placement,
                slots=slots,
            )

    plain = velocity([0, 1, 2], [0, 1, 2])
    assert plain.shape == video.shape
    assert torch.allclose(velocity([2, 0, 1], [2, 0, 1]), plain, rtol=1e-4, atol=1e-5)
    # In other slots they are other references, but where all stand alike and turn nothing.
    differs = not torch.allclose(velocity([0, 1, 2], [2, 0, 1]), plain, rtol=1e-4, atol=1e-5)
    assert differs == (placement is not Placement.OVERLAP)
