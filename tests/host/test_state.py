"""The host stays as it was, knows what memory it needs, and reports progress as ever."""

from __future__ import annotations

import pytest
import torch
from helpers.comfyui import Worker

pytestmark = pytest.mark.host


def test_memory_estimates_count_the_reference_frame(host: Worker) -> None:
    shapes = host("state.memory_estimates")
    assert shapes["unpatched"] == shapes["patched_without"] == [1, 128, 3, 4, 4]
    # The factor of LTX-2 is for packed latents, which a video alone is not.
    assert shapes["with_reference"] == [1, 1, 128 * 4 * 4 * 4]
    # Windows of two frames, whichever patch came first.
    assert shapes["windows_after_patch"] == [1, 1, 128 * 3 * 4 * 4]
    assert shapes["patch_after_windows"] == [1, 1, 128 * 3 * 4 * 4]
    packed, packed_with = shapes["audio_and_video"], shapes["audio_and_video_with_reference"]
    assert packed_with[-1] - packed[-1] == 128 * 4 * 4
    # LTX-Video's factor counts a video as it is.
    assert shapes["ltx_video"] == [1, 128, 4, 4, 4]


def test_a_video_alone_needs_the_memory_of_one_with_next_to_no_audio(host: Worker) -> None:
    memory = host("state.memory_of_a_step")
    assert memory["with_audio"] == pytest.approx(memory["alone"], rel=0.02)


@pytest.mark.parametrize("end", ["well", "error", "interrupt"])
def test_nothing_stays_on_model_or_guider(host: Worker, end: str) -> None:
    got = host("state.left_behind", end=end)
    expected = {"well": "", "error": "StopSampling", "interrupt": "InterruptProcessingException"}
    assert got["raised"] == expected[end]
    assert got["after"] == got["before"]
    assert got["guider_after"] == got["guider_before"]
    assert torch.equal(got["again"], got["fresh"])


@pytest.mark.parametrize("end", ["well", "error"])
def test_the_model_can_be_freed(host: Worker, end: str) -> None:
    got = host("state.model_can_be_freed", end=end)
    assert got["finished"] is (end == "well")
    assert got["guider_holds_run"] is False
    assert got["freed"] is True


def test_fifty_runs_hold_memory_level(host: Worker) -> None:
    got = host("state.many_runs", count=50)
    before, after = got["num_tensors"]
    assert after <= before
    before, after = got["resident_bytes"]
    # The count above finds leaked latents, of 25 kB each here; this one, leaks below Python.
    assert after - before < 20e6


@pytest.mark.parametrize("preview_method", ["none", "latent2rgb"])
def test_progress_and_previews_as_with_core_sampler_custom(
    host: Worker, preview_method: str
) -> None:
    got = host("state.progress", preview_method=preview_method)
    assert got["ours"] == got["core"]
    assert [event[:2] for event in got["ours"]] == [[step, 4] for step in range(1, 5)]
    assert all((event[2] is not None) == (preview_method != "none") for event in got["ours"])
