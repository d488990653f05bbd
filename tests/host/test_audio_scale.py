"""audio_scale: against core's guider of two scales, and against sums of core's own streams."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.comfyui import Worker
from torch import Tensor

pytestmark = pytest.mark.host

T = 3
# text_scale and audio_scale.
PAIRS = [(3, 7), (3, 1), (3, 0), (1, 3), (1, 0), (0, 3), (0, 1), (7, 7), (1, 1), (0, 0)]


@pytest.fixture
def dual_cfg(host: Worker) -> None:
    if not host("audio_scale.has_node", node_id="LTXVDualCFGGuider"):
        pytest.skip("this ComfyUI has no LTXV Dual CFG Guider")


@pytest.mark.usefixtures("dual_cfg")
@pytest.mark.parametrize(("text", "audio"), PAIRS)
def test_with_one_condition_it_is_cores_dual_cfg_guider(
    host: Worker, text: float, audio: float
) -> None:
    scales = {"text_scale": text, "reference_scale": text, "audio_scale": audio}
    got = host("audio_scale.ours", steps=2, **scales)
    expected = host("audio_scale.by_core", steps=2, video_cfg=text, audio_cfg=audio)
    for ours, theirs in zip(got["parts"], expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    needed = [T] * ((text, audio) != (1, 1)) + [T + 1] * ((text, audio) != (0, 0))
    assert sorted(got["frames"]) == sorted(2 * needed)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "constant": ({}, {}),
    "text at 1": ({"text_scale": 1.0}, {"s_y": [1.0] * 4}),
    "no reference": ({"reference_scale": 0.0}, {"s_r": [0.0] * 4}),
    "rescale": ({"guidance_rescale": 0.7, "reference_every": 2}, {"phi": 0.7, "every": 2}),
    "window": ({"end_percent": 0.01}, {"apart": [True, False, False, False]}),
    "preset": (
        {"preset": "fast"},
        {
            "s_y": [5.0, 5.0, 1.0, 1.0],
            "s_r": [7.5, 7.5, 1.0, 1.0],
            "s_a": [2.0, 2.0, 1.0, 1.0],
            "apart": [True, True, False, False],
            "every": 3,
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_the_sum_of_cores_streams(host: Worker, case: str) -> None:
    inputs, sums = CASES[case]
    got = host("audio_scale.ours", steps=4, **({"audio_scale": 2.0} | inputs))
    plain: dict[str, Any] = {
        "s_y": [5.0] * 4,
        "s_r": [7.5] * 4,
        "s_a": [2.0] * 4,
        "apart": [True] * 4,
    }
    expected = host("audio_scale.by_hand", **(plain | sums))
    for ours, theirs in zip(got["parts"], expected, strict=True):
        assert _difference(ours, theirs) < 1e-4


@pytest.mark.parametrize("reference_scale", [7.5, 3.0])
def test_not_given_or_at_text_scale_nothing_changes(host: Worker, reference_scale: float) -> None:
    scales = {"text_scale": 3.0, "reference_scale": reference_scale, "guidance_rescale": 0.5}
    plain = host("audio_scale.ours", steps=2, **scales)
    equal = host("audio_scale.ours", steps=2, audio_scale=3.0, **scales)
    assert plain["frames"] == equal["frames"]
    assert all(map(torch.equal, plain["parts"], equal["parts"]))


@pytest.mark.parametrize(
    ("text", "reference", "audio", "phi"),
    [(5.0, 7.5, 0.0, 0.7), (3.0, 3.0, 4.0, 0.0), (1.0, 1.0, 4.0, 0.7), (0.0, 0.0, 4.0, 0.7)],
)
def test_a_step_of_the_video_is_the_same_at_any_audio_scale(
    host: Worker, text: float, reference: float, audio: float, phi: float
) -> None:
    options = {"text_scale": text, "reference_scale": reference, "guidance_rescale": phi}
    plain = host("audio_scale.ours", steps=1, **options)["parts"]
    apart = host("audio_scale.ours", steps=1, audio_scale=audio, **options)["parts"]
    torch.testing.assert_close(apart[0], plain[0], rtol=1e-5, atol=1e-5)
    assert _difference(apart[1], plain[1]) > 1e-3


def test_the_sampler_node_has_it_too(host: Worker) -> None:
    by_guider = host("audio_scale.ours", audio_scale=2.0)["parts"]
    by_node = host("audio_scale.by_sampler_node", audio_scale=2.0)
    assert all(map(torch.equal, by_guider, by_node))


def test_a_users_cfg_function_has_each_scale_and_hooks_run_once(host: Worker) -> None:
    """A function that halves the scale is a run at half the scales."""
    got = host("audio_scale.hooked", text_scale=4.0, reference_scale=4.0, audio_scale=6.0)
    halves = host(
        "audio_scale.ours", steps=1, text_scale=2.0, reference_scale=2.0, audio_scale=3.0
    )["parts"]
    assert got["seen"] == [4.0]
    for ours, expected in zip(got["parts"], halves, strict=True):
        torch.testing.assert_close(ours, expected + 1.0, rtol=1e-4, atol=1e-4)


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())
