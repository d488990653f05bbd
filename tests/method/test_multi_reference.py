"""Several references: layers of guidance against the sum written out, and bad numbers."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.method.guidance_options import GuidanceOptions
from stdrc_core.method.multi_reference import (
    PlacedReference,
    in_order,
    layered_prediction,
    layers,
    with_common_scale,
)

scale_lists = st.lists(st.sampled_from((0.0, 0.25, 0.5, 1.0, 2.0)), min_size=1, max_size=5)


def placed(scales: list[float]) -> list[PlacedReference]:
    return [PlacedReference(slot=slot, scale=scale) for slot, scale in enumerate(scales)]


def prediction(indices: list[int]) -> Tensor:
    """A stand-in for what a stream predicts that sees these references: any two sets differ."""
    return torch.tensor([float(sum(2**index for index in indices)), len(indices)]).double()


@given(scale_lists)
def test_the_layers_are_nested_and_end_with_every_reference_that_counts(scales: list[float]):
    found = layers(placed(scales))
    factors = [factor for factor, _ in found]
    assert factors == sorted({scale for scale in scales if scale > 0}, reverse=True)
    for (_, seen), (_, more) in pairwise(found):
        assert set(seen) < set(more)
    if found:
        assert found[-1][1] == [index for index, scale in enumerate(scales) if scale > 0]


@given(scale_lists)
def test_the_prediction_is_the_weighted_sum_written_out(scales: list[float]):
    """(1 - f_1) vy + (f_1 - f_2) v_1 + ... + f_m v_m: the weights add up to 1."""
    text = torch.tensor([-3.0, 7.0]).double()
    found = layers(placed(scales))
    predictions = [prediction(seen) for _, seen in found]
    factors = [1.0, *(factor for factor, _ in found), 0.0]
    weights = [a - b for a, b in pairwise(factors)]
    expected = sum(w * v for w, v in zip(weights, [text, *predictions], strict=True))
    got = layered_prediction(
        text, [(factor, v) for (factor, _), v in zip(found, predictions, strict=True)]
    )
    assert sum(weights) == pytest.approx(1)
    assert torch.allclose(got, expected)


def test_equal_scales_of_1_are_one_stream_of_all_references():
    assert layers(in_order(3)) == [(1.0, [0, 1, 2])]
    together = prediction([0, 1, 2])
    assert torch.equal(layered_prediction(torch.zeros(2).double(), [(1.0, together)]), together)


@given(scale_lists, st.integers(0, 1000))
def test_the_order_of_references_does_not_matter(scales: list[float], seed: int):
    references = placed(scales)
    order = list(range(len(scales)))
    random.Random(seed).shuffle(order)
    permuted = layers([references[index] for index in order])
    slots = [(f, {references[order[i]].slot for i in seen}) for f, seen in permuted]
    assert slots == [(f, {references[i].slot for i in seen}) for f, seen in layers(references)]


@given(scale_lists, st.floats(0, 10))
def test_what_each_reference_is_guided_by_stays_the_same(scales: list[float], s_r: float):
    references = placed(scales)
    options, others = with_common_scale(GuidanceOptions(reference_scale=s_r), references)
    guided_by = [options.reference_scale * each.scale for each in others]
    assert guided_by == [s_r * scale for scale in scales]
    if len(set(scales) - {0.0}) <= 1:
        assert len(layers(others)) == 1


@pytest.mark.parametrize("name", ["strength", "scale"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_numbers_that_mean_nothing_are_refused(name: str, value: float):
    with pytest.raises(ValueError, match=rf"{name} of a reference was {value}; needs a number"):
        PlacedReference(slot=0, **{name: value})


def test_a_slot_below_zero_is_refused():
    with pytest.raises(ValueError, match=r"slot was -1; needs 0 or more"):
        PlacedReference(slot=-1)
