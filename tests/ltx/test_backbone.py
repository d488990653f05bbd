"""The video backbone against diffusers' whole transformer: nothing changes but the memory."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LTX2VideoTransformer3DModel
from helpers.tiny_ltx import (
    LTX_2_0,
    LTX_2_3,
    LTX_2_5,
    VERSIONS,
    build_tiny,
    random_inputs,
    write_tiny,
)
from torch import Tensor, nn

from stdrc_core.ltx.backbone import VideoBackbone, load_backbone
from stdrc_core.ltx.transformer_config import arguments_of
from stdrc_core.method.layout import Placement
from stdrc_core.method.reference import ReferenceTimestep
from stdrc_core.mini_build.random_weights import build_transformer

FRAME_RATE = 24.0
# Parts of the names of what belongs to the audio tower or to the cross-modal attentions.
AUDIO = ("audio", "av_cross_attn", "a2v", "v2a")


def video_keys(transformer: nn.Module) -> list[str]:
    return [key for key in transformer.state_dict() if not any(part in key for part in AUDIO)]


def seen_arguments(backbone: VideoBackbone, **options: Any) -> tuple[dict[str, Any], Tensor]:
    """What the transformer was called with, and what it answered.

    Timesteps of latent frames are repeated for each of their tokens, as diffusers itself has them.
    """
    seen = {}

    def record(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: tuple) -> None:
        seen.update(kwargs, output=output[0])

    hook = backbone.transformer.register_forward_hook(record, with_kwargs=True)
    video, t, context, reference = random_inputs(backbone.context_dim)
    options = {"frame_rate": FRAME_RATE, "reference": reference} | options
    with torch.no_grad():
        backbone(video, t, context, **options)
    hook.remove()
    if seen["timestep"].shape[1] > 1:
        seen["timestep"] = seen["timestep"].repeat_interleave(video[0, 0, 0].numel(), dim=1)
    return seen, seen.pop("output")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_reference", [True, False])
def test_dropping_audio_changes_no_bit_of_the_video(
    version: str, dtype: torch.dtype, with_reference: bool
):
    whole = build_tiny(VERSIONS[version]).to(dtype)
    backbone = VideoBackbone(copy.deepcopy(whole))
    arguments, output = seen_arguments(backbone, **({} if with_reference else {"reference": None}))
    context_dim = whole.config.audio_cross_attention_dim
    if whole.config.use_prompt_embeddings:
        context_dim = whole.config.caption_channels
    arguments["audio_hidden_states"] = torch.randn(2, 1, 128).to(dtype)
    arguments["audio_encoder_hidden_states"] = torch.randn(2, 8, context_dim).to(dtype)
    with torch.no_grad():
        expected, _ = whole(**arguments)
    assert torch.equal(output, expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_no_parameter_of_the_audio_remains_and_video_keys_keep_their_names(version: str):
    whole = build_tiny(VERSIONS[version])
    kept = video_keys(whole)
    backbone = VideoBackbone(copy.deepcopy(whole))
    assert list(backbone.transformer.state_dict()) == kept
    assert [name for name, _ in backbone.transformer.named_parameters()] == kept
    for key in kept:
        assert torch.equal(backbone.transformer.state_dict()[key], whole.state_dict()[key])


def test_the_audio_of_the_full_size_model_is_a_third_of_its_weights():
    sizes = {
        "num_attention_heads": 32,
        "attention_head_dim": 128,
        "cross_attention_dim": 4096,
        "audio_num_attention_heads": 32,
        "audio_attention_head_dim": 64,
        "audio_cross_attention_dim": 2048,
        "num_layers": 48,
    }
    with torch.device("meta"):
        whole = LTX2VideoTransformer3DModel(**arguments_of(LTX_2_3 | sizes, "the test"))
    before = sum(parameter.numel() for parameter in whole.parameters())
    after = sum(parameter.numel() for parameter in VideoBackbone(whole).parameters())
    assert 18e9 < before < 20e9
    assert 0.25 < 1 - after / before < 0.35


@pytest.mark.parametrize("placement", Placement)
@pytest.mark.parametrize("reference_timestep", ReferenceTimestep)
def test_the_transformer_gets_the_boxes_and_timesteps_of_the_specification(
    placement: Placement, reference_timestep: ReferenceTimestep
):
    """docs/method.md section 3 for T x H x W = 3 x 3 x 4, by plain counting."""
    backbone = VideoBackbone(build_tiny(LTX_2_3))
    got, _ = seen_arguments(backbone, placement=placement, reference_timestep=reference_timestep)
    in_time = placement in ("tass", "temporal_only")
    in_space = placement in ("tass", "spatial_only")
    origin = (3 * in_time, 3 * in_space, 4 * (in_space or placement == "sidecar"))
    if placement == "bfs_st_drc":
        origin = (2, 2, 3)
    cells = [(t, i, j) for t in range(3) for i in range(3) for j in range(4)]
    cells += [(origin[0], origin[1] + i, origin[2] + j) for i in range(3) for j in range(4)]
    boxes = [
        [
            [max(0, 8 * t - 7) / FRAME_RATE, (8 * t + 1) / FRAME_RATE],
            [32 * i, 32 * i + 32],
            [32 * j, 32 * j + 32],
        ]
        for t, i, j in cells
    ]
    expected = torch.tensor(boxes).movedim(0, 1)
    if placement == "strata":
        # The clip of 17 frames, and 1.5 s.
        expected[0, 36:] = 17 / FRAME_RATE + 1.5
    elif placement == "sidecar":
        expected[0, 36:] = torch.tensor([0, 17 / FRAME_RATE])
    elif placement == "before_clip":
        # The only photo's still is one frame early.
        expected[0, 36:] -= 1 / FRAME_RATE
    assert torch.allclose(got["video_coords"], expected.expand(2, -1, -1, -1), rtol=1e-6)
    assert torch.equal(got["sigma"], torch.tensor([300.0, 900.0]))
    per_token = got["timestep"].expand(2, 48)
    assert torch.equal(per_token[:, :36], got["sigma"][:, None].expand(-1, 36))
    own = got["sigma"] if reference_timestep == "shared" else torch.zeros(2)
    assert torch.equal(per_token[:, 36:], own[:, None].expand(-1, 12))
    assert got["isolate_modalities"] is True


@pytest.mark.parametrize("reference_timestep", ReferenceTimestep)
def test_clean_frames_of_the_video_stand_at_timestep_0(reference_timestep: ReferenceTimestep):
    backbone = VideoBackbone(build_tiny(LTX_2_3))
    got, _ = seen_arguments(backbone, reference_timestep=reference_timestep, num_clean_frames=1)
    per_token = got["timestep"].expand(2, 48)
    assert per_token[:, :12].count_nonzero() == 0
    assert torch.equal(per_token[:, 12:36], got["sigma"][:, None].expand(-1, 24))
    own = got["sigma"] if reference_timestep == "shared" else torch.zeros(2)
    assert torch.equal(per_token[:, 36:], own[:, None].expand(-1, 12))


def test_a_reference_for_each_video_is_one_reference_for_all_when_they_are_alike():
    backbone = VideoBackbone(build_tiny(LTX_2_3))
    video, t, context, reference = random_inputs(backbone.context_dim)
    with torch.no_grad():
        one = backbone(video, t, context, frame_rate=FRAME_RATE, reference=reference)
        each = reference.expand(2, -1, -1, -1, -1)
        assert torch.equal(backbone(video, t, context, frame_rate=FRAME_RATE, reference=each), one)
        assert one.shape == video.shape
        without = backbone(video, t, context, frame_rate=FRAME_RATE)
    assert without.shape == video.shape
    assert (without - one).norm() > 1e-3 * one.norm()


def test_ltx_2_5_marks_the_first_frame_of_the_video_and_no_other():
    backbone = VideoBackbone(build_tiny(LTX_2_5))
    arguments, output = seen_arguments(backbone, placement=Placement.OVERLAP)
    assert arguments["video_keyframes_mask"].flatten().tolist() == [1] * 12 + [0] * 36
    with torch.no_grad():
        backbone.transformer.keyframes_abs_pos_embedding.add_(1)
        assert not torch.equal(backbone.transformer(**arguments)[0], output)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_parameter_and_input(version: str, checkpointing: bool):
    """A parameter without one would need find_unused_parameters in DDP."""
    backbone = VideoBackbone(build_tiny(VERSIONS[version]))
    if checkpointing:
        backbone.transformer.enable_gradient_checkpointing()
    inputs = [tensor.requires_grad_() for tensor in random_inputs(backbone.context_dim)]
    video, t, context, reference = inputs
    backbone(
        video, t, context, frame_rate=FRAME_RATE, reference=reference
    ).square().mean().backward()
    named = [
        *backbone.named_parameters(),
        *zip(["video", "t", "context", "reference"], inputs, strict=True),
    ]
    assert [name for name, p in named if p.grad is None or not p.grad.any()] == []


def test_gradient_checkpointing_changes_no_gradient():
    backbone = VideoBackbone(build_tiny(LTX_2_3))
    gradients = []
    for _ in range(2):
        video, t, context, reference = random_inputs(backbone.context_dim)
        reference.requires_grad_()
        output = backbone(video, t, context, frame_rate=FRAME_RATE, reference=reference)
        gradients.append(torch.autograd.grad(output.square().sum(), reference)[0])
        backbone.transformer.enable_gradient_checkpointing()
    assert torch.equal(*gradients)


def test_the_gradient_of_the_reference_is_the_slope_of_the_output():
    backbone = VideoBackbone(build_tiny(LTX_2_3))
    video, t, context, reference = random_inputs(backbone.context_dim)
    direction = torch.randn(reference.shape, generator=torch.Generator().manual_seed(1))

    def loss(step: float) -> Tensor:
        moved = reference + step * direction
        output = backbone(video, t, context, frame_rate=FRAME_RATE, reference=moved)
        return output.double().square().sum()

    reference.requires_grad_()
    slope = (torch.autograd.grad(loss(0.0), reference)[0] * direction).sum().item()
    with torch.no_grad():
        measured = (loss(0.01) - loss(-0.01)).item() / 0.02
    assert measured == pytest.approx(slope, rel=1e-2)


def test_weights_in_bfloat16_take_and_give_the_video_in_float32(tmp_path: Path):
    path = write_tiny(tmp_path / "tiny.safetensors", LTX_2_3)
    exact = load_backbone(path, dtype=None)
    assert exact.dtype == torch.float32
    rounded = load_backbone(path, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in rounded.parameters()} == {torch.bfloat16}
    video, t, context, reference = random_inputs(exact.context_dim)
    with torch.no_grad():
        outputs = [
            backbone(video, t, context, frame_rate=FRAME_RATE, reference=reference)
            for backbone in (exact, rounded)
        ]
    assert outputs[1].dtype == torch.float32
    difference = (outputs[1] - outputs[0]).norm() / outputs[0].norm()
    assert 0 < difference < 3e-2


@pytest.mark.parametrize(("settings", "widths"), [(LTX_2_0, (48, 48)), (LTX_2_3, (96, 32))])
def test_the_hosts_conditioning_is_split_into_video_and_audio(
    settings: dict[str, Any], widths: tuple[int, int]
):
    backbone = VideoBackbone(build_tiny(settings))
    context = torch.randn(2, 5, sum(widths))
    video, audio = backbone.split_context(context)
    assert backbone.context_dim == widths[0]
    assert torch.equal(torch.cat((video, audio), dim=-1), context)
    assert video.shape[-1] == widths[0]
    with pytest.raises(ValueError, match=r"context has 7 channels; .* needs \d+ for the video"):
        backbone.split_context(torch.randn(2, 5, 7))


@pytest.mark.parametrize("frame_rate", [0, -1, float("nan"), float("inf")])
def test_a_frame_rate_that_is_none_is_refused(frame_rate: float):
    backbone = VideoBackbone(build_tiny(LTX_2_3))
    video, t, context, _ = random_inputs(backbone.context_dim)
    with pytest.raises(ValueError, match=r"frame_rate was .*; it needs"):
        backbone(video, t, context, frame_rate=frame_rate)


def test_the_miniature_loads_as_it_was_written(mini_checkpoint: Path):
    backbone = load_backbone(mini_checkpoint, dtype=None)
    whole = build_transformer()
    assert list(backbone.transformer.state_dict()) == video_keys(whole)
    # Without a caption projection its width means nothing.
    settings = {"caption_channels": 3840, "_use_default_values": None}
    assert backbone.transformer.config | settings == whole.config | settings
    assert backbone.dtype == torch.bfloat16
    assert not any(p.is_meta for p in [*backbone.parameters(), *backbone.buffers()])
