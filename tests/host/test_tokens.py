"""The reference's tokens in the real transformer: where they stand, and what they change."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.comfyui import Worker
from helpers.equation_4 import equation_4
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

pytestmark = pytest.mark.host

PLACEMENTS = ("tass", "overlap", "temporal_only", "spatial_only")


def video_boxes(num_frames: int, height: int, width: int) -> list[list[list[int]]]:
    cells = [(t, i, j) for t in range(num_frames) for i in range(height) for j in range(width)]
    return [
        [[max(0, 8 * t - 7), 8 * t + 1] for t, _, _ in cells],
        [[32 * i, 32 * i + 32] for _, i, _ in cells],
        [[32 * j, 32 * j + 32] for _, _, j in cells],
    ]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    num_frames=st.integers(2, 6),
    height=st.integers(2, 5),
    width=st.integers(2, 5),
    frame_rate=st.sampled_from([8.0, 23.976, 24.0, 25.0, 50.0]),
    placement=st.sampled_from(PLACEMENTS),
    guides=st.sampled_from([[], [0], [-1], [0, 8]]),
)
# The smallest grids, and one long enough that half precision would round its positions.
@example(num_frames=1, height=1, width=1, frame_rate=24.0, placement="tass", guides=[])
@example(num_frames=1, height=2, width=3, frame_rate=24.0, placement="tass", guides=[])
@example(num_frames=70, height=2, width=1, frame_rate=23.976, placement="tass", guides=[0])
@example(num_frames=16, height=5, width=9, frame_rate=25.0, placement="tass", guides=[0, -1])
def test_bounds_that_reach_the_rope_are_equation_4(
    host: Worker, num_frames, height, width, frame_rate, placement, guides
) -> None:
    got = host(
        "tokens.rope_inputs",
        num_frames=num_frames,
        height=height,
        width=width,
        frame_rate=frame_rate,
        placement=placement,
        guides=guides,
    )
    expected = torch.tensor(equation_4(num_frames, height, width, placement))
    frames_and_pixels = expected.float()
    # The model divides frames by the frame rate in float32, as a product with its inverse.
    frames_and_pixels[0] = frames_and_pixels[0] * (1.0 / frame_rate)
    tokens = height * width
    with_reference = [n for n in got["num_frames"] if n == num_frames + len(guides) + 1]
    without = [n for n in got["num_frames"] if n == num_frames + len(guides)]
    assert len(with_reference) == 1
    assert len(without) == len(got["num_frames"]) - 1 >= 1
    for index, total in enumerate(got["num_frames"]):
        rope = got["rope"][index]
        assert rope.shape[2] == total * tokens
        if total == num_frames + len(guides):
            continue
        keyframes = got["keyframe_idxs"][index]
        assert keyframes.shape[2] == (len(guides) + 1) * tokens
        assert torch.equal(keyframes[0, :, -tokens:], expected)
        assert torch.equal(rope[0, :, -tokens:], frames_and_pixels)
        assert torch.all(got["timestep"][index][:, -tokens:] == 0)
        assert torch.all(got["denoise_mask"][index][:, :, -1] == 0)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("reference_timestep", ["clean", "shared"])
@pytest.mark.parametrize("batch", [1, 2])
def test_result_equals_hand_built_tokens(
    host: Worker, placement: str, reference_timestep: str, batch: int
) -> None:
    size = {"num_frames": 3, "height": 3, "width": 4, "batch": batch}
    got = host(
        "tokens.in_context_velocity",
        placement=placement,
        reference_timestep=reference_timestep,
        **size,
    )
    bounds = torch.cat(
        (torch.tensor(video_boxes(3, 3, 4)), torch.tensor(equation_4(3, 3, 4, placement))), dim=1
    )
    clean = torch.zeros_like(got["sigma"])
    by_hand = host(
        "tokens.hand_built_velocity",
        bounds=bounds,
        reference_timesteps=clean if reference_timestep == "clean" else got["sigma"],
        **size,
    )
    assert relative_difference(got["velocity"], by_hand) < 1e-5


def test_the_reference_its_place_and_its_timestep_all_matter(host: Worker) -> None:
    """Guards the tests around it: they would pass if tokens, bounds or timesteps had no effect."""
    size = {"num_frames": 3, "height": 3, "width": 4}
    base = host("tokens.in_context_velocity", placement="tass", reference_timestep="clean", **size)[
        "velocity"
    ]
    others = [
        {"placement": "tass", "reference_timestep": "clean", "with_reference": False},
        {"placement": "tass", "reference_timestep": "shared"},
        *({"placement": name, "reference_timestep": "clean"} for name in PLACEMENTS[1:]),
    ]
    for other in others:
        changed = host("tokens.in_context_velocity", **other, **size)["velocity"]
        assert relative_difference(changed, base) > 3e-4, other


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("with_reference", [True, False])
@pytest.mark.parametrize("reference_timestep", ["clean", "shared"])
def test_result_equals_diffusers_on_the_same_weights(
    host: Worker,
    mini_checkpoint: Path,
    placement: str,
    with_reference: bool,
    reference_timestep: str,
) -> None:
    got = host(
        "tokens.in_context_velocity",
        num_frames=3,
        height=3,
        width=4,
        batch=2,
        placement=placement,
        reference_timestep=reference_timestep,
        with_reference=with_reference,
    )
    boxes = video_boxes(3, 3, 4)
    tokens = got["video"].flatten(2).mT
    timestep = got["sigma"][:, None].expand(-1, tokens.shape[1])
    if with_reference:
        reference = equation_4(3, 3, 4, placement)
        boxes = [video + ref for video, ref in zip(boxes, reference, strict=True)]
        tokens = torch.cat((tokens, got["reference"].flatten(2).mT.expand(2, -1, -1)), dim=1)
        own = got["sigma"] if reference_timestep == "shared" else torch.zeros(2)
        timestep = torch.cat((timestep, own[:, None].expand(-1, 12)), dim=1)
    seconds = torch.tensor(boxes).float()
    seconds[0] /= 24.0
    velocity = diffusers_velocity(
        mini_checkpoint, tokens, got["context"], timestep, got["sigma"], seconds
    )
    expected = velocity[:, : 3 * 3 * 4].mT.reshape(got["video"].shape)
    assert relative_difference(got["velocity"], expected) < 1e-5


def diffusers_velocity(
    checkpoint: Path,
    tokens: Tensor,
    context: Tensor,
    timestep: Tensor,
    sigma: Tensor,
    bounds: Tensor,
) -> Tensor:
    """diffusers' LTX-2.3 on the checkpoint by its own single-file converter, video branch alone."""
    from diffusers.loaders.single_file_utils import convert_ltx2_transformer_to_diffusers

    from stdrc_core.mini_build.random_weights import build_transformer

    prefix = "model.diffusion_model."
    weights = {k: v.float() for k, v in load_file(checkpoint).items() if k.startswith(prefix)}
    converted = convert_ltx2_transformer_to_diffusers(weights)
    converted = {
        key.replace("prompt_adaln_single.", "prompt_adaln."): value
        for key, value in converted.items()
    }
    model = build_transformer().eval()
    model.load_state_dict(converted, strict=True)
    batch = tokens.shape[0]
    video_dim = model.config.num_attention_heads * model.config.attention_head_dim
    with torch.no_grad():
        return model(
            hidden_states=tokens,
            audio_hidden_states=torch.zeros(batch, 1, 128),
            encoder_hidden_states=context[..., :video_dim],
            audio_encoder_hidden_states=context[..., video_dim:],
            timestep=timestep * 1000,
            audio_timestep=sigma * 1000,
            sigma=sigma * 1000,
            video_coords=bounds[None].expand(batch, -1, -1, -1),
            audio_coords=torch.zeros(batch, 1, 1, 2),
            isolate_modalities=True,
            use_cross_timestep=True,
            return_dict=False,
        )[0]


@pytest.mark.parametrize("frame_rate", [24.0, 24000 / 1001, 29.97, 23.99999999])
def test_strata_reaches_the_device_in_float32_at_the_frame_it_stood_at_in_float64(
    host: Worker, frame_rate: float
) -> None:
    """Not every device has float64; 23.99999999 is rounded up to the next frame by float32."""
    got = host(
        "tokens.rope_inputs",
        num_frames=3,
        height=2,
        width=2,
        frame_rate=frame_rate,
        placement="strata",
        guides=[],
    )
    with_reference = [each for each in got["keyframe_idxs"] if each is not None]
    assert with_reference
    instant = int(17 + 1.5 * frame_rate)
    for index, keyframes in enumerate(got["keyframe_idxs"]):
        if keyframes is not None:
            assert keyframes.dtype is torch.float32
            seconds = torch.tensor(float(instant)) * (1.0 / frame_rate)
            assert torch.equal(got["rope"][index][0, 0, -4:], seconds.expand(4, 2))


CASES = (
    ("plain", [3, 4, 5], 1),
    ("plain", [1, 1, 1], 1),
    ("plain", [40, 2, 3], 3),
    ("inpaint", [3, 4, 4], 2),
    ("weak guide", [3, 4, 4], 1),
    ("masked guide", [3, 4, 4], 1),
    ("dilated guide", [3, 4, 4], 1),
    ("video guide", [3, 4, 4], 1),
    ("inpaint guide", [3, 4, 4], 1),
    ("audio", [3, 4, 4], 1),
    ("inpaint audio", [3, 4, 4], 2),
    ("long audio", [2, 3, 3], 1),
    ("weak guide, audio", [3, 4, 4], 1),
)


@pytest.mark.parametrize(("case", "grid", "batch"), CASES)
@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_sampled_frames_equal_core_with_the_reference_appended_by_hand(
    host: Worker, case: str, grid: list[int], batch: int, sampler: str
) -> None:
    got = host(
        "by_hand.compare",
        case=case,
        grid=grid,
        batch=batch,
        sampler=sampler,
        bounds=torch.tensor(equation_4(*grid, "tass")),
    )
    for ours, by_hand in zip(got["ours"], got["by_hand"], strict=True):
        assert relative_difference(ours, by_hand) < 1e-6


@pytest.mark.parametrize("case", ["plain", "weak guide", "masked guide", "bare guide", "audio"])
@pytest.mark.parametrize("strength", [0.0, 0.4, 1.7])
def test_a_strength_is_the_hosts_attention_strength(
    host: Worker, case: str, strength: float
) -> None:
    grid, options = [3, 4, 4], {"bounds": torch.tensor(equation_4(3, 4, 4, "tass"))}
    got = host("by_hand.compare", case=case, grid=grid, strength=strength, **options)
    plain = host("by_hand.compare", case=case, grid=grid, **options)["ours"]
    for ours, by_hand in zip(got["ours"], got["by_hand"], strict=True):
        assert relative_difference(ours, by_hand) < 1e-6
    assert relative_difference(got["ours"][0], plain[0]) > 1e-5


@pytest.mark.parametrize("reference_timestep", ["clean", "shared"])
def test_a_noise_mask_holds_its_frame_beside_a_reference(
    host: Worker, reference_timestep: str
) -> None:
    got = host("tokens.masked_timesteps", reference_timestep=reference_timestep)
    tokens = 4 * 4
    assert torch.allclose(got["output"][:, :, :1], got["first_frame"], atol=1e-6)
    with_reference = [t for t in got["timesteps"] if t.shape[1] == 4 * tokens]
    assert len(with_reference) == 2
    for timestep, sigma in zip(with_reference, got["sigmas"][:-1], strict=True):
        expected = torch.full((1, 4 * tokens, 1), float(sigma))
        expected[:, :tokens] = 0
        # The video's own timestep is that of its unmasked tokens.
        expected[:, -tokens:] = 0 if reference_timestep == "clean" else float(sigma)
        assert torch.allclose(timestep, expected)
    for mask in got["masks"]:
        assert mask.shape[2] in (3, 4)


def relative_difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())
