"""The reference works together with what else the host does to an LTX video."""

from __future__ import annotations

import pytest
import torch
from helpers.comfyui import HostError, Worker

pytestmark = pytest.mark.host

T, H, W = 3, 4, 4


@pytest.mark.parametrize(
    ("name", "model_class", "time_bounds"),
    [
        ("ltx-2.3", "LTXAVModel", [8 * T - 7, 8 * T + 1]),
        ("ltx-2.0", "LTXAVModel", [8 * T - 7, 8 * T + 1]),
        ("ltxv-0.9.7", "LTXVModel", [8 * T - 7, 8 * T + 1]),
        # Before 0.9.5 the first latent frame held eight pixel frames like any other.
        ("ltxv-0.9.1", "LTXVModel", [8 * T, 8 * T + 8]),
    ],
)
def test_model_families(host: Worker, name: str, model_class: str, time_bounds: list[int]) -> None:
    got = host("together.family", name=name)
    assert got["class"] == model_class
    assert torch.equal(got["unpatched"], got["patched_without"])
    assert torch.isfinite(got["first"]).all()
    assert not torch.allclose(got["first"], got["second"], rtol=1e-3, atol=1e-3)
    assert got["keyframe_idxs"]
    for bounds in got["keyframe_idxs"]:
        assert bounds[0, 0].unique(dim=0).tolist() == [time_bounds]
        assert bounds[0, 1].min() == 32 * H
        assert bounds[0, 2].max() == 2 * 32 * W


def test_patched_without_reference_is_bit_for_bit_the_same_beside_guides(host: Worker) -> None:
    got = host("together.patched_without_reference_with_guides")
    assert torch.equal(got["patched"], got["unpatched"])


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_guides_of_any_strength(host: Worker, strength: float) -> None:
    got = host("together.weak_guide", strength=strength)
    first, second = got["outputs"]
    assert torch.isfinite(first).all()
    assert not torch.allclose(first, second, rtol=1e-3, atol=1e-3)
    assert set(got["frames"]) == {T + 1, T + 2}


@pytest.mark.parametrize("inputs", [{}, {"reference_every": 2, "guidance_rescale": 0.7}], ids=str)
def test_a_batch_equals_its_videos_one_by_one(host: Worker, inputs: dict[str, float]) -> None:
    got = host("together.batch", **inputs)
    assert torch.allclose(got["batch"], got["singles"], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(got["batch"][0], got["batch"][1], rtol=1e-2, atol=1e-2)


def test_audio_and_video_the_reference_joins_the_video(host: Worker) -> None:
    got = host("together.audio_and_video")
    for part in ("video", "audio"):
        assert torch.equal(got["patched_without"][part], got["unpatched"][part])
    assert got["first"]["video"].shape == (1, 128, T, H, W)
    assert got["first"]["audio"].shape == (1, 8, 12, 16)
    assert not torch.allclose(got["first"]["video"], got["second"]["video"], rtol=1e-3, atol=1e-3)
    assert all(shapes[0][1:] == [8, 12, 16] for shapes in got["audio_shapes"])
    assert set(got["video_frames"]) == {T, T + 1}


def test_encode_takes_the_size_of_the_video_in_an_audio_and_video_latent(host: Worker) -> None:
    got = host("together.encoded_for_audio_and_video")
    assert got["reference"].shape == (1, 128, 1, 3, 5)
    assert got["preview"].shape == (1, 96, 160, 3)


@pytest.mark.parametrize("patch_first", [True, False])
def test_context_windows_each_have_the_reference_after_their_own_frames(
    host: Worker, patch_first: bool
) -> None:
    got = host("together.context_windows", num_frames=7, length=4, patch_first=patch_first)
    assert got["output"].shape == (1, 128, 7, H, W)
    assert torch.isfinite(got["output"]).all()
    with_reference = [
        (frames, bounds)
        for frames, bounds in zip(got["frames"], got["bounds"], strict=True)
        if bounds is not None
    ]
    # Three steps of two windows; the host puts an anchor frame before the second.
    assert sorted(frames for frames, _ in with_reference) == [5, 5, 5, 6, 6, 6]
    for frames, bounds in with_reference:
        window = frames - 1
        assert bounds[0, 0].unique(dim=0).tolist() == [[8 * window - 7, 8 * window + 1]]


@pytest.mark.parametrize("patch_first", [True, False])
def test_windows_that_are_no_longer_than_their_overlap_are_refused(
    host: Worker, patch_first: bool
) -> None:
    with pytest.raises(HostError, match="context_length 1 and context_overlap 1, in latent frames"):
        host("together.context_windows", num_frames=7, length=1, patch_first=patch_first)
    # One window needs no overlap.
    got = host("together.context_windows", num_frames=1, length=1, patch_first=patch_first)
    assert torch.isfinite(got["output"]).all()


def test_loras_apply_before_and_after_the_patch(host: Worker) -> None:
    got = host("together.lora", strength=1.0)
    assert torch.equal(got["before"], got["after"])
    assert not torch.allclose(got["before"], got["none"], rtol=1e-3, atol=1e-3)


def test_clones_and_a_second_patch(host: Worker) -> None:
    got = host("together.clones")
    assert torch.equal(got["patched"], got["clone"])
    assert torch.equal(got["patched"], got["twice"])
    assert got["source_is_patched"] is False


def test_second_stage_at_another_size_with_its_own_reference(host: Worker) -> None:
    got = host("together.second_stage")
    assert got["second"].shape == (1, 128, T, 2 * H, 2 * W)
    assert torch.isfinite(got["second"]).all()
