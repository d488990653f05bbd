"""A run that a wrapper samples piece by piece is the run: its steps are counted over the whole, and
its memory is estimated with its references once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.comfyui import Worker

pytestmark = pytest.mark.host

STEPS = 6
ORDERS = ["around", "inside"]
OPTIONS: dict[str, dict[str, Any]] = {
    "share": {"guided_share": 0.5},
    "every": {"reference_every": 4},
    "preset": {"preset": "fast"},
    "window": {"start_percent": 0.1, "end_percent": 0.6, "reference_every": 2},
}


def assert_the_same(got: dict[str, Any]) -> None:
    pieces, whole = got["pieces"], got["whole"]
    # A sigma may be rounded where the wrapper passes it on, and the streams are alike in order.
    assert [frames for _, frames in pieces["calls"]] == [frames for _, frames in whole["calls"]]
    for (sigma, _), (expected, _) in zip(pieces["calls"], whole["calls"], strict=True):
        assert sigma == pytest.approx(expected, abs=1e-6)
    for ours, theirs in zip(pieces["parts"], whole["parts"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("options", "cuts"),
    [("share", [2, 4]), ("every", [2, 3]), ("window", [1, 4]), ("preset", [1, 2, 3, 4, 5])],
)
def test_a_run_in_pieces_is_the_run(
    host: Worker, options: str, cuts: list[int], order: str
) -> None:
    got = host(
        "pieces.cut", cuts=cuts, order=order, with_audio=False, steps=STEPS, **OPTIONS[options]
    )
    assert_the_same(got)


def test_with_audio_too(host: Worker) -> None:
    got = host(
        "pieces.cut",
        cuts=[2, 4],
        order="around",
        with_audio=True,
        steps=STEPS,
        audio_scale=2.0,
        **OPTIONS["preset"],
    )
    assert_the_same(got)


@pytest.mark.parametrize("order", ORDERS)
def test_every_piece_counts_the_references_once(host: Worker, order: str) -> None:
    got = host("pieces.cut", cuts=[1, 2], order=order, with_audio=False, steps=3)
    assert got["whole"]["estimated"] == [[1, 1, 128 * 4 * 4 * 4]]
    assert got["pieces"]["estimated"] == 3 * got["whole"]["estimated"]


def test_a_second_video_and_a_second_run_have_nothing_of_the_first(host: Worker) -> None:
    got = host("pieces.twice", order="around", steps=4, reference_every=9)
    assert torch.equal(got["again"], got["whole"]["parts"][0])
    assert torch.equal(got["pieces"]["parts"][0], got["whole"]["parts"][0])
    assert got["pieces"]["calls"] == 2 * got["whole"]["calls"]


@pytest.mark.parametrize("order", ORDERS)
def test_a_wrapper_with_sigmas_of_its_own_has_the_steps_of_these(host: Worker, order: str) -> None:
    got = host("pieces.another_schedule", order=order, steps=3, own_steps=8, **OPTIONS["preset"])
    assert torch.equal(got["pieces"]["parts"][0], got["whole"]["parts"][0])
    assert got["pieces"]["calls"] == got["whole"]["calls"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("options", ["share", "every"])
def test_kjnodes_audio_normalizing_sampling(kj: Worker, options: str, order: str) -> None:
    """A factor of about 1 after the first step cuts the run there, and changes nothing else."""
    got = kj(
        "pieces.audio_normalizing",
        factors="1.0000001,1,1,1,1,1",
        order=order,
        steps=STEPS,
        **OPTIONS[options],
    )
    assert_the_same(got)
    first, second = got["pieces"]["estimated"]
    assert first == second == got["whole"]["estimated"][0]
