"""Curves, rescale and kept directions in the real host, against sums of core's own streams."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from helpers.comfyui import Worker
from torch import Tensor

from stdrc_core.method.guidance_options import PRESETS
from stdrc_core.method.sampling import percent_to_sigma

pytestmark = pytest.mark.host

STEPS = 6


def percent_between(high: float, low: float) -> float:
    """The part p of sampling that is over between two sigmas.

    The host's sigma is sigmoid(2.37 + logit(1 - p)).
    """
    sigma = (high + low) / 2
    return 1 - 1 / (1 + math.exp(2.37) * (1 / sigma - 1))


@pytest.mark.parametrize(("every", "phi"), [(1, 0.0), (1, 1.0), (2, 0.0), (3, 0.7), (STEPS, 0.0)])
def test_a_run_is_the_sum_of_cores_streams(host: Worker, every: int, phi: float) -> None:
    got = host("guidance.over_time", steps=STEPS, reference_every=every, guidance_rescale=phi)
    expected = host(
        "guidance.by_hand",
        s_y=[5.0] * STEPS,
        s_r=[7.5] * STEPS,
        every=every,
        phi=phi,
        start=0,
        end=STEPS,
    )
    assert difference(got["output"], expected) < 1e-4
    exact = host("guidance.over_time", steps=STEPS)["output"]
    assert (difference(exact, expected) < 1e-4) is (every == 1 and phi == 0)


def test_curves_in_a_window_with_kept_directions_are_the_sum_of_cores_streams(
    host: Worker,
) -> None:
    plain = host("guidance.over_time", steps=STEPS)
    sigmas = plain["sigmas"].tolist()
    text = {"start": 6.0, "end": 2.0, "shape": "linear", "start_sigma": 0.9, "end_sigma": 0.2}
    reference = {"start": 3.0, "end": 9.0, "shape": "late"}
    got = host(
        "guidance.over_time",
        steps=STEPS,
        reference_every=2,
        guidance_rescale=0.5,
        start_percent=percent_between(*sigmas[0:2]),
        end_percent=percent_between(*sigmas[4:6]),
        curves={"text_curve": text, "reference_curve": reference},
    )
    expected = host(
        "guidance.by_hand",
        s_y=[6 - 4 * min(max((0.9 - sigma) / 0.7, 0), 1) for sigma in sigmas[:-1]],
        s_r=[3 + 6 * (1 - sigma) ** 2 for sigma in sigmas[:-1]],
        every=2,
        phi=0.5,
        start=1,
        end=4,
    )
    assert difference(got["output"], expected) < 1e-4
    with_reference = [has for _, has in got["calls"][: len(got["calls"]) // 2]]
    # Steps 1 and 3 of the window compute it, 2 and 4 do not, 0 and 5 are outside of it.
    assert sum(with_reference) == 4
    assert len(with_reference) == 2 + 3 + 2 + 3 + 2 + 2


@pytest.mark.parametrize("shape", ["linear", "cosine", "early", "late"])
def test_constant_curves_are_the_constants(host: Worker, shape: str) -> None:
    curves = {
        f"{name}_curve": {"start": value, "end": value, "shape": shape}
        for name, value in (("text", 4.0), ("reference", 6.5))
    }
    got = host("guidance.over_time", curves=curves, reference_every=2)
    plain = host("guidance.over_time", text_scale=4.0, reference_scale=6.5, reference_every=2)
    assert torch.equal(got["output"], plain["output"])
    assert got["calls"] == plain["calls"]


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(
    "sampler",
    [
        "euler",
        "heun",
        "dpm_2",
        "dpmpp_2m",
        "euler_cfg_pp",
        "uni_pc",
        "res_multistep",
        "dpmpp_2s_ancestral",
    ],
)
def test_every_evaluation_of_each_kth_step_computes_the_reference(
    host: Worker, sampler: str, every: int
) -> None:
    got = host("guidance.over_time", sampler=sampler, steps=7, reference_every=every)
    half = len(got["calls"]) // 2
    # A second run of the same guider starts afresh.
    assert got["calls"][:half] == got["calls"][half:]
    assert torch.equal(got["output"], got["again"])
    assert torch.isfinite(got["output"]).all()
    sigmas = got["sigmas"].tolist()
    evaluations = {"text or empty": 0, "reference": 0}
    for sigma, has_reference in got["calls"][:half]:
        evaluations["reference" if has_reference else "text or empty"] += 1
        step = next(i for i, (_, low) in enumerate(pairwise(sigmas)) if sigma > low * 1.0001)
        assert not has_reference or step % every == 0
    # All evaluations run v0 and vy; those of each k-th step vyr too.
    computed = [
        sigma
        for sigma in {sigma for sigma, _ in got["calls"][:half]}
        if next(i for i, low in enumerate(sigmas[1:]) if sigma > low * 1.0001) % every == 0
    ]
    assert {sigma for sigma, has in got["calls"][:half] if has} == set(computed)
    if every == 1:
        assert evaluations["text or empty"] == 2 * evaluations["reference"]
    else:
        assert evaluations["text or empty"] > 2 * evaluations["reference"]


def test_forwards_of_a_step_fall_with_k(host: Worker) -> None:
    counts = {
        every: len(host("guidance.over_time", steps=8, reference_every=every)["calls"]) // 2
        for every in (1, 2, 4, 8)
    }
    assert counts == {1: 24, 2: 16 + 4, 4: 16 + 2, 8: 16 + 1}
    distilled = host("guidance.over_time", steps=8, text_scale=1.0, reference_every=4)
    assert len(distilled["calls"]) // 2 == 8 + 2
    # Where vy drops out, vyr is what is guided by, and runs.
    together = host("guidance.over_time", steps=8, reference_scale=5.0, reference_every=4)
    assert len(together["calls"]) // 2 == 16


@pytest.mark.parametrize(("share", "guided"), [(0.5, 3), (0.6, 4), (0.0, 0)])
def test_after_the_guided_share_vyr_runs_alone(host: Worker, share: float, guided: int) -> None:
    got = host("guidance.over_time", steps=STEPS, guided_share=share, reference_every=2)
    expected = host(
        "guidance.by_hand",
        s_y=[5.0] * guided + [1.0] * (STEPS - guided),
        s_r=[7.5] * guided + [1.0] * (STEPS - guided),
        every=2,
        phi=0.0,
        start=0,
        end=guided - 1,
    )
    assert difference(got["output"], expected) < 1e-4
    computed = -(-guided // 2)
    assert len(got["calls"]) // 2 == 2 * guided + computed + (STEPS - guided)


def test_the_fast_preset_is_its_numbers_where_none_are_given(host: Worker) -> None:
    numbers = dict(PRESETS["fast"])
    by_preset = host("guidance.over_time", steps=STEPS, preset="fast")
    assert torch.equal(
        by_preset["output"], host("guidance.over_time", steps=STEPS, **numbers)["output"]
    )
    mixed = host("guidance.over_time", steps=STEPS, preset="fast", reference_every=2)
    numbers |= {"reference_every": 2}
    assert torch.equal(
        mixed["output"], host("guidance.over_time", steps=STEPS, **numbers)["output"]
    )


def test_references_with_scales_of_their_own_rest_together(host: Worker) -> None:
    entries: list[dict[str, Any]] = [
        {"photo": k, "slot": k, "scale": scale} for k, scale in enumerate((1.0, 0.4, 1.5))
    ]
    video, photo = 3 * 4 * 4, 4 * 4
    got = host("references.run_listed", entries=entries, steps=4, reference_every=2)
    assert got["num_tokens"] == 2 * (5 * video + (1 + 2 + 3) * photo) + 2 * 2 * video


def test_rescale_of_audio_and_video_takes_each_by_itself(host: Worker) -> None:
    """At phi = 1 each has the deviation of its own positive estimate, and is else only scaled."""
    got = host("guidance.audio_and_video_rescaled")
    for guided, plain, positive in zip(
        *(got[n] for n in ("guided", "plain", "positive")), strict=True
    ):
        torch.testing.assert_close(guided.std(), positive.std(), rtol=1e-4, atol=0)
        torch.testing.assert_close(
            guided, plain * (guided.std() / plain.std()), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("percent", [0.0, 0.001, 0.2, 0.5, 0.93, 1.0])
def test_the_cores_window_is_the_hosts(host: Worker, percent: float) -> None:
    got = host("guidance.windowed", start_percent=percent, end_percent=1.0, steps=1)
    assert percent_to_sigma(percent) == pytest.approx(got["start_sigma"], abs=1e-9)


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())
