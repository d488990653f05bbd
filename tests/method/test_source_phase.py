"""The source phase against rotations computed another way, in both of the host's table formats."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from helpers.tiny_ltx import LTX_2_0, LTX_2_3, build_attentive, build_tiny, random_inputs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.ltx.backbone import VideoBackbone
from stdrc_core.method.layout import Placement
from stdrc_core.method.source_phase import SourcePhase, turn

tables = st.fixed_dictionaries(
    {
        "num_video": st.integers(0, 7),
        "tokens": st.integers(1, 5),
        "heads": st.integers(1, 3),
        "frequencies": st.integers(1, 9),
        "phases": st.lists(st.floats(-8, 8), min_size=1, max_size=3),
        "seed": st.integers(0, 1000),
    }
)


def angles_of(case: dict[str, Any]) -> Tensor:
    """Random RoPE angles `[1, heads, N, L]`."""
    num_tokens = case["num_video"] + case["tokens"] * len(case["phases"])
    generator = torch.Generator().manual_seed(case["seed"])
    shape = (1, case["heads"], num_tokens, case["frequencies"])
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def expected_angles(angles: Tensor, case: dict[str, Any]) -> Tensor:
    """theta + phi, token by token and frequency by frequency."""
    turned = angles.clone()
    for index, phase in enumerate(case["phases"]):
        for token in range(case["tokens"]):
            for d in range(case["frequencies"]):
                phi = phase * 10000 ** (-d / case["frequencies"])
                turned[..., case["num_video"] + index * case["tokens"] + token, d] += phi
    return turned


@settings(deadline=None, max_examples=60)
@given(tables)
def test_cosines_and_sines_are_those_of_the_added_angles(case: dict[str, Any]):
    angles = angles_of(case)
    before = (angles.cos(), angles.sin())
    kept = [part.clone() for part in before]
    cos, sin, split = turn((*before, True), case["phases"], case["tokens"])
    expected = expected_angles(angles, case)
    assert split is True
    assert torch.allclose(cos, expected.cos(), atol=1e-6)
    assert torch.allclose(sin, expected.sin(), atol=1e-6)
    assert all(torch.equal(*pair) for pair in zip(before, kept, strict=True))


def matrices(angles: Tensor) -> Tensor:
    """`[1, N, heads, L, 2, 2]` from `[1, heads, N, L]`."""
    cos, sin = angles.cos(), angles.sin()
    rows = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)
    return rows.swapaxes(1, 2)


@settings(deadline=None, max_examples=60)
@given(tables)
def test_rotation_matrices_are_those_of_the_added_angles(case: dict[str, Any]):
    angles = angles_of(case)
    before = matrices(angles)
    kept = before.clone()
    turned, split = turn((before, True), case["phases"], case["tokens"])
    assert split is True
    assert torch.allclose(turned, matrices(expected_angles(angles, case)), atol=1e-6)
    assert torch.equal(before, kept)


def test_turning_keeps_the_tables_dtype():
    table = (torch.ones(1, 2, 6, 4, dtype=torch.bfloat16),) * 2
    cos, sin = turn(table, [2.0], 3)
    assert {cos.dtype, sin.dtype} == {torch.bfloat16}


def test_slots_count_up_from_the_source_id():
    phase = SourcePhase(source_id=2, scale=0.5)
    assert [phase.at(slot) for slot in range(3)] == [1.0, 1.5, 2.0]
    assert SourcePhase(source_id=0).at(0) == 0


@pytest.mark.parametrize("name", ["source_id", "scale"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_phase_that_is_not_finite_is_refused(name: str, value: float):
    with pytest.raises(ValueError, match=rf"{name} was {value}; it needs to be a finite number"):
        SourcePhase(**{name: value})


def velocity(backbone: VideoBackbone, **options: Any) -> Tensor:
    video, t, context, reference = random_inputs(backbone.context_dim)
    with torch.no_grad():
        return backbone(video, t, context, frame_rate=24.0, reference=reference, **options)


def test_without_a_phase_the_placement_is_the_overlap():
    backbone = VideoBackbone(build_attentive(LTX_2_3))
    overlap = velocity(backbone, placement=Placement.OVERLAP)
    none = SourcePhase(source_id=0)
    turned = velocity(backbone, placement=Placement.OVERLAP_SOURCE_PHASE)
    assert torch.equal(
        velocity(backbone, placement=Placement.OVERLAP_SOURCE_PHASE, source_phase=none), overlap
    )
    assert (turned - overlap).norm() > 1e-3 * overlap.norm()
    # The hook is gone after each call.
    assert torch.equal(velocity(backbone, placement=Placement.OVERLAP), overlap)


def test_a_model_of_interleaved_rope_is_refused():
    backbone = VideoBackbone(build_tiny(LTX_2_0 | {"rope_type": "interleaved"}))
    with pytest.raises(ValueError, match=r"RoPE is interleaved; .* needs split RoPE"):
        velocity(backbone, placement=Placement.OVERLAP_SOURCE_PHASE)
