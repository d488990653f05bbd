"""Distillation of real backbones: the student's start, scales as an input, runs, and mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import mini_run
from helpers.tiny_ltx import LTX_2_3, random_inputs, write_tiny
from pydantic import ValidationError

from stdrc_core.ltx.backbone import VideoBackbone, load_backbone
from stdrc_core.ltx.guidance_embedding import BIAS, read_guidance_embedding
from stdrc_core.train.assemble import load_trainable_backbone
from stdrc_core.train.config import TrainConfig
from stdrc_core.train.config_errors import sentence
from stdrc_core.train.distillation import base_under_adapter
from stdrc_core.train.export import export
from stdrc_core.train.loop import GroupedVelocity
from stdrc_core.train.objective import Group
from stdrc_core.train.sharding import require_shardable
from stdrc_core.train.trainable import adapter_off, trained_parameters

CPU = torch.device("cpu")
SCALES = {"text_scale": 3.0, "reference_scale": 4.5}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.safetensors", LTX_2_3)


def config_of(tiny: Path, distil: dict[str, Any], **changes: dict[str, Any]) -> TrainConfig:
    objective = {"lambda_id": 0, "lambda_tic": 0, "distil": distil}
    out = tiny.parent
    return mini_run.config(out / "run", tiny, out / "cache", objective=objective, **changes)


RANGE = {"text_scale": [1.0, 6.0], "reference_scale": [1.0, 8.0]}


def group_of(backbone: VideoBackbone) -> Group:
    video, t, context, reference = random_inputs(backbone.context_dim)
    return video, t, context, reference, 0


@pytest.mark.parametrize("num_clean_frames", [0, 1])
def test_the_student_begins_as_vyr_bit_for_bit(tiny: Path, num_clean_frames: int):
    """And so it is again with its LoRA off, whatever it has learned."""
    base = load_backbone(tiny, dtype=torch.float32)
    config = config_of(tiny, RANGE)
    model = GroupedVelocity(load_trainable_backbone(config, CPU), config, 24.0)
    group = (*group_of(base)[:4], num_clean_frames)
    (expected,) = GroupedVelocity(base, config, 24.0)([group])
    scales = torch.tensor([[5.0, 7.5]]).expand(len(group[0]), 2)
    (start,) = model([group], [scales])
    assert torch.equal(start, expected)
    with torch.no_grad():
        for _, parameter in trained_parameters(model):
            parameter.add_(0.05)
    (moved,) = model([group], [scales])
    assert (moved - expected).abs().max() > 1e-3
    (of_base,) = base_under_adapter(model, [group])
    assert torch.equal(of_base, expected)
    # The LoRA is on again, and is still trained.
    assert torch.equal(model([group], [scales])[0], moved)
    with adapter_off(model):
        names = [name for name, _ in trained_parameters(model)]
    assert len([n for n in names if "lora" in n]) == len(names) - 4


def test_scales_of_one_run_are_a_change_of_one_bias(tiny: Path):
    config = config_of(tiny, RANGE)
    model = load_trainable_backbone(config, CPU)
    video, t, context, reference = random_inputs(model.context_dim)
    with torch.no_grad():
        for parameter in model.guidance_embedding.parameters():
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    options = {"frame_rate": 24.0, "reference": reference}
    given = torch.tensor([[2.0, 3.0]]).expand(len(video), 2)
    expected = model(video, t, context, guidance_scales=given, **options)
    plain = load_backbone(tiny, dtype=torch.float32)
    before = plain(video, t, context, **options)
    bias = plain.transformer.get_parameter(BIAS)
    with torch.no_grad():
        bias += model.guidance_embedding.bias_change(2.0, 3.0)
    after = plain(video, t, context, **options)
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)
    assert (after - before).abs().max() > 1e-3


def test_each_sample_is_given_its_own_scales(tiny: Path):
    model = load_trainable_backbone(config_of(tiny, RANGE), CPU)
    video, t, context, reference = random_inputs(model.context_dim)
    with torch.no_grad():
        for parameter in model.guidance_embedding.parameters():
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    scales = torch.tensor([[1.0, 2.0], [6.0, 3.0]])[: len(video)]
    assert len(video) == 2
    rows = [
        model(
            video[i : i + 1],
            t[i : i + 1],
            context[i : i + 1],
            frame_rate=24.0,
            reference=reference,
            guidance_scales=scales[i : i + 1],
        )
        for i in (0, 1)
    ]
    both = model(video, t, context, frame_rate=24.0, reference=reference, guidance_scales=scales)
    torch.testing.assert_close(both, torch.cat(rows), rtol=1e-4, atol=1e-5)


def run(out: Path, checkpoint: Path, cache: Path, num_steps: int, **sections: dict[str, Any]):
    """A run on cached latents, with its parts and its result."""
    distil = {"trajectory_share": 0.5, "trajectory_steps": 2} | sections.pop("distil")
    config = mini_run.config(
        out,
        checkpoint,
        cache,
        objective={"lambda_id": 0, "lambda_tic": 0, "distil": distil},
        run={"num_steps": num_steps, "checkpoint_every": 1, "trackers": []},
        **sections,
    )
    return config, *mini_run.train(config)


def test_a_run_on_a_cache_goes_on_bit_for_bit_and_is_exported(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    files = (mini_checkpoint, mini_cache)
    _, _, whole = run(tmp_path / "whole", *files, 2, distil=RANGE)
    run(tmp_path / "parts", *files, 1, distil=RANGE)
    config, _, parts = run(tmp_path / "parts", *files, 2, distil=RANGE)
    assert whole.weights.keys() == parts.weights.keys()
    assert all(torch.equal(whole.weights[name], parts.weights[name]) for name in whole.weights)
    path = export(config, parts.weights, tmp_path / "lora.safetensors")
    scales = torch.tensor([[2.0, 3.0]])
    assert read_guidance_embedding(path)(scales).any()


def test_a_full_copy_learns_from_the_frozen_base(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    config, parts, result = run(
        tmp_path, mini_checkpoint, mini_cache, 1, distil=SCALES, trainable={"method": "full"}
    )
    base = load_backbone(mini_checkpoint, dtype=torch.float32)
    (expected,) = GroupedVelocity(base, config, mini_run.FPS)([group_of(base)])
    (of_teacher,) = parts.objective.teacher(parts.model, [group_of(base)])
    assert torch.equal(of_teacher, expected)
    (of_student,) = parts.model([group_of(base)])
    assert (of_student - expected).abs().max() > 1e-4
    # It is no part of what is trained and saved.
    assert len(result.weights) == len([*base.parameters()])


@pytest.mark.parametrize(
    ("objective", "changes", "words"),
    [
        ({"text_scale": "high"}, {}, ["text_scale was 'high'", "[1, 6]"]),
        ({"text_scale": -1}, {}, ["text_scale was -1", "0 or more"]),
        ({"text_scale": True}, {}, ["text_scale was True", "a number of 0 or more"]),
        ({"reference_scale": [1, 2, 3]}, {}, ["reference_scale was [1, 2, 3]", "two"]),
        ({"reference_scale": [4, 2]}, {}, ["reference_scale was [4, 2]", "lower scale first"]),
        ({"trajectory_share": 1.5}, {}, ["objective.distil.trajectory_share was 1.5"]),
        ({"trajectory_steps": 0}, {}, ["objective.distil.trajectory_steps was 0"]),
        ({"text_scales": 3}, {}, ["text_scales is not a known key", "nearest is text_scale"]),
        (
            RANGE,
            {"trainable": {"method": "full"}},
            ["range of scales with trainable.method full", "method lora"],
        ),
        (
            {"text_scale": [1, 4]},
            {},
            ["validation.text_scale was 5", "objective.distil.text_scale from 1 to 4"],
        ),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(
    tmp_path: Path, objective: dict, changes: dict, words: list[str]
):
    with pytest.raises(ValidationError) as caught:
        config_of(tmp_path / "base.safetensors", objective, **changes)
    told = sentence(caught.value, TrainConfig)
    assert told.count(".\n") == 0
    for word in words:
        assert word in told, told


def test_sharding_is_refused(tmp_path: Path):
    config = config_of(tmp_path / "base.safetensors", {})
    with pytest.raises(ValueError, match=r"^objective.distil was given with FSDP2; needs DDP"):
        require_shardable(config)
