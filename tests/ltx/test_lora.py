"""A LoRA file merged into the backbone, against peft's own adapter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import mini_run
from safetensors.torch import load_file, save_file

from stdrc_core.ltx.backbone import VideoBackbone, load_backbone
from stdrc_core.ltx.lora import merge_lora
from stdrc_core.ltx.lora_file import read_metadata
from stdrc_core.ltx.trained_for import from_metadata
from stdrc_core.train.assemble import load_trainable_backbone
from stdrc_core.train.export import export
from stdrc_core.train.trainable import trained_parameters

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, mini_checkpoint: Path):
    """A backbone with a peft adapter of random weights, and the LoRA file that it exports."""
    out = tmp_path_factory.mktemp("lora")
    config = mini_run.config(
        out, mini_checkpoint, out / "no cache", trainable={"method": "lora", "alpha": 6.0}
    )
    backbone = load_trainable_backbone(config, CPU)
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, parameter in trained_parameters(backbone):
        # What the file keeps: bfloat16.
        drawn = 0.1 * torch.randn(parameter.shape, generator=generator)
        parameter.data = drawn.bfloat16().float()
        weights[f"backbone.{name}"] = parameter.data
    return backbone.eval(), export(config, weights, out / "lora.safetensors")


def velocity(backbone: VideoBackbone) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    video = torch.randn(1, 128, 2, 3, 3, generator=generator)
    with torch.no_grad():
        return backbone(
            video,
            torch.tensor([0.4]),
            mini_run.encode_text("a man")[None],
            frame_rate=24.0,
            reference=video[:, :, :1],
        )


def test_the_merged_weights_compute_what_pefts_adapter_does(adapted, mini_checkpoint: Path):
    ours = load_backbone(mini_checkpoint, dtype=torch.float32)
    plain = velocity(ours)
    merge_lora(ours, adapted[1])
    facts = from_metadata(read_metadata(adapted[1]))
    expected = velocity(adapted[0])
    assert (velocity(ours) - expected).norm() < 1e-5 * expected.norm()
    assert (plain - expected).norm() > 0.05 * expected.norm()
    assert facts.placement == "tass"


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_strength_0_is_no_lora_and_minus_1_takes_it_back(
    adapted, mini_checkpoint: Path, strength: float
):
    backbone = load_backbone(mini_checkpoint, dtype=torch.float32)
    plain = velocity(backbone)
    merge_lora(backbone, adapted[1], strength)
    merge_lora(backbone, adapted[1], -strength)
    assert torch.allclose(velocity(backbone), plain, atol=1e-5)


def test_other_trainers_names_are_the_same_lora(adapted, mini_checkpoint: Path, tmp_path: Path):
    renamed = {
        "model." + key.replace("lora_A", "lora_down").replace("lora_B", "lora_up"): value
        for key, value in load_file(adapted[1]).items()
    }
    # A layer that the video branch has not.
    renamed["model.diffusion_model.audio.lora_down.weight"] = torch.zeros(2, 2)
    save_file(renamed, tmp_path / "other.safetensors")
    one, other = (load_backbone(mini_checkpoint, dtype=torch.float32) for _ in range(2))
    merge_lora(one, adapted[1])
    merge_lora(other, tmp_path / "other.safetensors")
    assert read_metadata(tmp_path / "other.safetensors") == {}
    assert torch.equal(velocity(one), velocity(other))


def test_what_is_no_lora_of_this_model_is_told_in_a_sentence(
    adapted, mini_checkpoint: Path, tmp_path: Path
):
    backbone = load_backbone(mini_checkpoint, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"LoRA .*gone.safetensors could not be read"):
        merge_lora(backbone, tmp_path / "gone.safetensors")
    save_file({"unet.down.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"holds unet.down.weight; needs layers of LTX-2's"):
        merge_lora(backbone, tmp_path / "other.safetensors")
    wrong = {key: value[..., :3] for key, value in load_file(adapted[1]).items() if value.ndim == 2}
    save_file({k: v.contiguous() for k, v in wrong.items()}, tmp_path / "wrong.safetensors")
    before = velocity(backbone)
    with pytest.raises(ValueError, match=r"has a change of shape \[.*, 3\] for .*this model's is"):
        merge_lora(backbone, tmp_path / "wrong.safetensors")
    ranks = dict(load_file(adapted[1]))
    name = max(key for key in ranks if key.endswith(".lora_B.weight"))
    ranks[name] = ranks[name][:, :-1].contiguous()
    save_file(ranks, tmp_path / "ranks.safetensors")
    with pytest.raises(ValueError, match=r"has halves of ranks \d+ and \d+ for .*; needs one rank"):
        merge_lora(backbone, tmp_path / "ranks.safetensors")
    assert torch.equal(velocity(backbone), before)
