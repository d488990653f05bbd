"""Eq. 13 in the real host: against core's DualCFGGuider, and at the least possible cost."""

from __future__ import annotations

import pytest
import torch
from helpers.comfyui import Worker

pytestmark = pytest.mark.host

STEPS = 3
VIDEO_TOKENS, REFERENCE_TOKENS = 3 * 4 * 4, 4 * 4


@pytest.mark.parametrize(
    ("text_scale", "reference_scale", "streams"),
    [
        (5.0, 7.5, ("empty", "text", "both")),
        (3.0, 2.0, ("empty", "text", "both")),
        (7.5, 1.0, ("empty", "text", "both")),
        (0.5, 4.0, ("empty", "text", "both")),
        (0.0, 3.0, ("empty", "text", "both")),
        (5.0, 5.0, ("empty", "both")),
        (1.0, 7.5, ("text", "both")),
        (5.0, 0.0, ("empty", "text")),
        (1.0, 1.0, ("both",)),
        (1.0, 0.0, ("text",)),
        (0.0, 0.0, ("empty",)),
    ],
)
def test_guider_equals_dual_cfg_with_the_fewest_tokens(
    host: Worker, text_scale: float, reference_scale: float, streams: tuple[str, ...]
) -> None:
    got = host("guidance.against_dual_cfg", text_scale=text_scale, reference_scale=reference_scale)
    difference = (got["ours"] - got["dual"]).norm() / got["dual"].norm()
    assert difference < 1e-5
    per_step = sum(VIDEO_TOKENS + REFERENCE_TOKENS * (stream == "both") for stream in streams)
    assert got["num_tokens"] == STEPS * per_step
    assert got["num_tokens"] <= got["num_dual_tokens"]


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.0, 0.5), (0.3, 0.8), (0.9, 1.0)])
def test_outside_the_window_the_text_stream_rests(host: Worker, start: float, end: float) -> None:
    got = host("guidance.windowed", start_percent=start, end_percent=end, steps=8)
    inside_seen = 0
    for sigma in got["sigmas"][:-1].tolist():
        inside = got["end_sigma"] <= sigma <= got["start_sigma"]
        inside_seen += inside
        frames = sum(
            tokens
            for at, tokens in zip(got["call_sigmas"], got["call_tokens"], strict=True)
            if abs(at - sigma) < 1e-6
        )
        assert frames == (3 + 3 + 4 if inside else 3 + 4)
    assert inside_seen > 0
    assert inside_seen == 8 or (start, end) != (0.0, 1.0)
    assert torch.isfinite(got["output"]).all()


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_core_reference_latent_and_ksampler_see_the_reference(host: Worker, cfg: float) -> None:
    got = host("guidance.core_reference_latent", cfg=cfg)
    assert torch.allclose(got["core"], got["ours"], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(got["core"], got["core_without"], rtol=1e-3, atol=1e-3)


def test_neither_text_nor_empty_stream_sees_any_reference(host: Worker) -> None:
    got = host("guidance.text_streams_are_blind")
    assert torch.equal(got["output"], got["clean"])
    assert len(got["references"]) == 1
    assert torch.equal(got["references"][0], got["reference"])
    assert got["num_calls_without"] >= 1


def test_sampler_node_is_guider_and_custom_sampler(host: Worker) -> None:
    got = host("guidance.sampler_node")
    assert torch.equal(got["node"], got["advanced"])
    assert got["denoised"].shape == got["node"].shape


@pytest.mark.parametrize(
    ("text_scale", "reference_scale", "cond"),
    [
        (5.0, 7.5, "positive"),
        (1.0, 7.5, "positive"),
        (3.0, 0.0, "positive"),
        (5.0, 5.0, "reference"),
        (1.0, 1.0, "reference"),
        (0.0, 0.0, "negative"),
    ],
)
def test_hooks_see_the_text_step_with_its_own_conditioning(
    host: Worker, text_scale: float, reference_scale: float, cond: str
) -> None:
    got = host("guidance.hooks", text_scale=text_scale, reference_scale=reference_scale)
    (seen,) = got["seen"]
    assert (seen["cond"], seen["uncond"], seen["scale"]) == (cond, "negative", text_scale)
    assert seen["cond_error"] < 1e-5
    assert torch.allclose(got["hooked"], got["plain"] + 1.0, atol=1e-4)
