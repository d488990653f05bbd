"""Several references in the real host: slots, strengths, scales, and what they cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.comfyui import Worker
from torch import Tensor

pytestmark = pytest.mark.host

VIDEO, PHOTO = 3 * 4 * 4, 4 * 4
ENTRIES = [
    {"photo": 0, "slot": 0, "strength": 1.0},
    {"photo": 1, "slot": 1, "strength": 0.5},
    {"photo": 2, "slot": 2, "strength": 1.6},
]
SCALES = [1.0, 0.4, 1.5]


def with_scales(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry | {"scale": SCALES[entry["photo"]]} for entry in entries]


@pytest.mark.parametrize("has_scales", [False, True])
@pytest.mark.parametrize("placement", ["tass", "strata", "overlap_source_phase"])
def test_permuted_references_give_the_same_clip_with_permuted_strengths(
    host: Worker, placement: str, has_scales: bool
) -> None:
    entries = with_scales(ENTRIES) if has_scales else ENTRIES
    plain = host("references.run_listed", entries=entries, placement=placement)
    permuted = host(
        "references.run_listed", entries=[entries[i] for i in (2, 0, 1)], placement=placement
    )
    assert difference(permuted["output"], plain["output"]) < 1e-5
    assert permuted["num_tokens"] == plain["num_tokens"]
    # What is not permuted along does matter: strengths of others, and slots of others.
    for name in ("strength", "slot"):
        swapped = [dict(entry) for entry in entries]
        swapped[0][name], swapped[1][name] = entries[1][name], entries[0][name]
        # A list keeps to its slots in any order.
        other = host("references.run_listed", entries=swapped, placement=placement)
        assert difference(other["output"], plain["output"]) > 1e-5, name


def test_a_slot_is_its_own_square_of_the_diagonal(host: Worker) -> None:
    got = host("references.run_listed", entries=[ENTRIES[2], ENTRIES[0]], steps=1)
    (bounds,) = [each for each in got["bounds"] if each is not None]
    assert bounds.shape == (1, 3, 2 * PHOTO, 2)
    corners = bounds[0, :, [0, PHOTO], 0].T.tolist()
    assert corners == [[8 * 3 - 7, 3 * 128, 3 * 128], [8 * 3 - 7, 128, 128]]
    # A stream without references has one timestep for all of its tokens.
    (timestep,) = [each for each in got["timesteps"] if each.ndim == 3]
    assert timestep.shape == (1, VIDEO + 2 * PHOTO, 1)
    assert torch.all(timestep[:, VIDEO:] == 0)


def test_three_streams_stay_three(host: Worker) -> None:
    got = host("references.run_listed", entries=ENTRIES)
    assert got["num_tokens"] == got["steps"] * (3 * VIDEO + 3 * PHOTO)


def test_each_further_scale_costs_a_stream(host: Worker) -> None:
    """Of the scales 1.5, 1 and 0.4, v_1 sees one reference, v_2 two, and the last one all."""
    got = host("references.run_listed", entries=with_scales(ENTRIES))
    assert got["num_tokens"] == got["steps"] * (5 * VIDEO + (1 + 2 + 3) * PHOTO)


def test_outside_the_window_all_are_guided_together(host: Worker) -> None:
    got = host(
        "references.run_listed", entries=with_scales(ENTRIES), start_percent=1.0, end_percent=1.0
    )
    assert got["num_tokens"] == got["steps"] * (2 * VIDEO + 3 * PHOTO)


def test_a_batch_is_a_list_of_which_nothing_is_said(host: Worker) -> None:
    batch = host("references.run_batch", photos=[0, 1])
    entries = [{"photo": 0}, {"photo": 1}]
    assert torch.equal(batch["output"], host("references.run_listed", entries=entries)["output"])
    other = host("references.run_batch", photos=[1, 0])
    assert difference(other["output"], batch["output"]) > 1e-5


def test_core_reference_latent_nodes_make_a_list_too(host: Worker) -> None:
    ours = host("references.run_batch", photos=[0, 1], text_scale=1.0, reference_scale=1.0)
    assert torch.equal(host("references.core_nodes", photos=[0, 1]), ours["output"])


def one_step(host: Worker, entries: list[dict[str, Any]], s_y: float, s_r: float) -> Tensor:
    """One step down to sigma 0, whose result is the guided estimate itself."""
    scales = {"text_scale": s_y, "reference_scale": s_r}
    return host("references.run_listed", entries=entries, steps=1, **scales)["output"]


@pytest.mark.parametrize(("s_y", "s_r"), [(5.0, 7.5), (3.0, 3.0), (1.0, 4.0)])
def test_scales_of_their_own_are_the_sum_written_out(host: Worker, s_y: float, s_r: float) -> None:
    """s_r (1.5 (v_2 - vy) + 1 (v_20 - v_2) + 0.4 (v_201 - v_20)), from the streams alone."""
    empty = one_step(host, ENTRIES, 0.0, 0.0)
    text = one_step(host, ENTRIES, 1.0, 0.0)
    first, second, third = (
        one_step(host, [ENTRIES[i] for i in seen], 1.0, 1.0) for seen in ((2,), (2, 0), (2, 0, 1))
    )
    expected = empty + s_y * (text - empty)
    for factor, seeing, before in ((1.5, first, text), (1.0, second, first), (0.4, third, second)):
        expected = expected + s_r * factor * (seeing - before)
    assert difference(one_step(host, with_scales(ENTRIES), s_y, s_r), expected) < 1e-5


def test_one_scale_for_all_is_reference_scales_own_matter(host: Worker) -> None:
    halved = [entry | {"scale": 0.5} for entry in ENTRIES]
    got = host("references.run_listed", entries=halved, reference_scale=8.0)
    expected = host("references.run_listed", entries=ENTRIES, reference_scale=4.0)
    assert torch.equal(got["output"], expected["output"])
    assert got["num_tokens"] == expected["num_tokens"]


def test_a_reference_of_scale_0_is_left_out(host: Worker) -> None:
    without = host("references.run_listed", entries=ENTRIES[:2])
    left_out = host("references.run_listed", entries=[*ENTRIES[:2], ENTRIES[2] | {"scale": 0.0}])
    assert torch.equal(left_out["output"], without["output"])
    assert left_out["num_tokens"] == without["num_tokens"]


def test_a_batch_of_photos_is_encoded_one_by_one(host: Worker) -> None:
    images = torch.rand(3, 70, 50, 3, generator=torch.Generator().manual_seed(2))
    got = host("references.encoded", images=images)
    assert got["together"].shape == (3, 128, 1, 4, 4)
    assert got["preview"].shape == (3, 128, 128, 3)
    assert torch.equal(got["together"], got["alone"])


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())
