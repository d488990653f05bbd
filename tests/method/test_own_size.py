"""References of a size that is not the video's: where they stand, and how they fill frames."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stdrc_core.method.grid import LatentGrid, latent_bounds, to_pixel_bounds
from stdrc_core.method.layout import Placement, reference_pixel_bounds
from stdrc_core.method.reference import as_frames

sizes = st.builds(
    LatentGrid, num_frames=st.integers(1, 9), height=st.integers(1, 5), width=st.integers(1, 5)
)
sides = st.integers(1, 6)


@settings(deadline=None, max_examples=50)
@given(grid=sizes, height=sides, width=sides, slot=st.integers(0, 4))
def test_a_sidecar_of_another_size_is_centred_on_the_videos_height(
    grid: LatentGrid, height: int, width: int, slot: int
):
    got = reference_pixel_bounds(grid, Placement.SIDECAR, slot=slot, size=(height, width))
    assert got.shape == (3, height * width, 2)
    assert (got[1].min() + got[1].max()).item() == 32 * grid.height
    assert got[2].min() == 32 * (grid.width + slot * width)


@pytest.mark.parametrize("placement", Placement)
@settings(deadline=None, max_examples=15)
@given(grid=sizes, height=sides, width=sides)
def test_a_reference_of_its_own_size_begins_where_one_of_the_videos_does(
    placement: Placement, grid: LatentGrid, height: int, width: int
):
    own = reference_pixel_bounds(grid, placement, size=(height, width), frame_rate=24)
    videos = reference_pixel_bounds(grid, placement, frame_rate=24)
    assert torch.equal(own[0, :1], videos[0, :1])
    assert torch.equal(own[2, :1], videos[2, :1])
    if placement is not Placement.SIDECAR:
        assert torch.equal(own[1, :1], videos[1, :1])
    assert (own[2].max() - own[2].min()).item() == 32 * width


@pytest.mark.parametrize("placement", [p for p in Placement if p.keeps_apart])
@settings(deadline=None, max_examples=25)
@given(grid=sizes, height=sides, width=sides, num_references=st.integers(1, 4))
def test_no_two_tokens_have_one_position_at_any_size(
    placement: Placement, grid: LatentGrid, height: int, width: int, num_references: int
):
    """A position is the middle of a token's box: what the RoPE reads."""
    boxes = [to_pixel_bounds(latent_bounds(grid)).double()] + [
        reference_pixel_bounds(
            grid,
            placement,
            slot=slot,
            num_slots=num_references,
            size=(height, width),
            frame_rate=24,
        ).double()
        for slot in range(num_references)
    ]
    positions = torch.cat(boxes, dim=1).mean(dim=-1).T.tolist()
    assert len({tuple(each) for each in positions}) == len(positions)


@settings(deadline=None, max_examples=50)
@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    frame=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    num_references=st.integers(1, 3),
)
def test_tokens_of_references_of_any_size_run_through_the_frames(
    size: tuple[int, int], frame: tuple[int, int], num_references: int
):
    reference = torch.randn(1, 2, num_references, *size)
    frames, num_padding = as_frames(reference, *frame)
    assert frames.shape[:2] == (1, 2)
    assert frames.shape[3:] == frame
    assert 0 <= num_padding < frame[0] * frame[1]
    tokens = frames.flatten(2)
    num_tokens = num_references * size[0] * size[1]
    assert tokens.shape[2] == num_tokens + num_padding
    assert torch.equal(tokens[..., :num_tokens], reference.flatten(2))
    assert not tokens[..., num_tokens:].any()
    if size == frame:
        assert torch.equal(frames, reference)
