"""Exported full weights: whatever the base file looked like, a base again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import mini_run
from helpers.tiny_ltx import LTX_2_3, VERSIONS, build_tiny, file_tensors, write_tiny
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stdrc_core.ltx.backbone import load_backbone
from stdrc_core.ltx.checkpoint import TRANSFORMER_PREFIX, write_checkpoint
from stdrc_core.train.assemble import load_trainable_backbone
from stdrc_core.train.config import TrainConfig
from stdrc_core.train.export import export

CPU = torch.device("cpu")
# As the file may name the transformer's tensors, and what its metadata may hold.
PREFIXES = [TRANSFORMER_PREFIX, "diffusion_model.", ""]
CONFIGS: dict[str, dict[str, Any]] = {
    "config": {"transformer": LTX_2_3, "vae": {"dims": 3}},
    "no config": {},
}


def write_base(path: Path, prefix: str, config: dict[str, Any]) -> Path:
    named = file_tensors(build_tiny(LTX_2_3))
    tensors = {prefix + key.removeprefix(TRANSFORMER_PREFIX): t for key, t in named.items()}
    if config:
        return write_checkpoint(path, tensors, config)
    save_file(tensors, path)
    return path


def config_for(base: Path, out: Path, placement: str = "tass") -> TrainConfig:
    reference = {"placement": placement, "timestep": "shared"}
    return mini_run.config(
        out, base, out / "no cache", reference=reference, trainable={"method": "full"}
    )


def export_moved(config: TrainConfig, path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """Exports the base's video branch, each weight moved by one; and what was exported."""
    weights = {
        f"backbone.{name}": parameter.detach() + 1
        for name, parameter in load_trainable_backbone(config, CPU).named_parameters()
    }
    return export(config, weights, path), weights


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("metadata", CONFIGS)
def test_full_weights_are_whole_and_load_again(tmp_path: Path, prefix: str, metadata: str):
    base = write_base(tmp_path / "base.safetensors", prefix, CONFIGS[metadata])
    path, weights = export_moved(config_for(base, tmp_path), tmp_path / "full.safetensors")
    whole = file_tensors(build_tiny(LTX_2_3))
    exported = load_file(path)
    assert exported.keys() == whole.keys()
    untouched = f"{TRANSFORMER_PREFIX}transformer_blocks.0.audio_attn1.to_q.weight"
    assert torch.equal(exported[untouched], whole[untouched])
    again = load_backbone(path, dtype=torch.float32)
    expected = load_backbone(base, dtype=torch.float32)
    assert again.transformer.config == expected.transformer.config
    for name, parameter in again.named_parameters():
        assert torch.equal(parameter, weights[f"backbone.{name}"].bfloat16().float()), name


def test_the_next_fine_tune_replaces_what_its_base_was_for(tmp_path: Path):
    base = write_base(tmp_path / "base.safetensors", "", CONFIGS["config"])
    first, _ = export_moved(config_for(base, tmp_path, "overlap"), tmp_path / "first.safetensors")
    path, _ = export_moved(config_for(first, tmp_path, "tass"), tmp_path / "second.safetensors")
    metadata = metadata_of(path)
    facts, config = json.loads(metadata["stdrc"]), json.loads(metadata["config"])
    assert facts["placement"] == "tass"
    assert facts["reference_timestep"] == "shared"
    assert facts["base_model"] == "first.safetensors"
    # ComfyUI hands these settings to the model; all else is the base's.
    assert config["transformer"].pop("stdrc") == facts
    assert config == CONFIGS["config"]


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_version_of_the_base_is_recorded(tmp_path: Path, method: str, name: str):
    base = write_tiny(tmp_path / "base.safetensors", VERSIONS[name])
    config = mini_run.config(tmp_path, base, tmp_path, trainable={"method": method})
    weights = {
        f"backbone.transformer.transformer_blocks.0.attn1.to_q.lora_{part}.default.weight": matrix
        for part, matrix in (("A", torch.zeros(2, 96)), ("B", torch.zeros(96, 2)))
    }
    path = export(config, weights if method == "lora" else {}, tmp_path / "out.safetensors")
    assert json.loads(metadata_of(path)["stdrc"])["base_version"] == name.split()[0]


def test_a_lora_is_exported_without_its_base_too(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    config = mini_run.config(tmp_path, tmp_path / "gone.safetensors", tmp_path)
    path = export(config, {}, tmp_path / "lora.safetensors")
    assert "base_version" not in json.loads(metadata_of(path)["stdrc"])
    assert "gone.safetensors does not exist" in caplog.text
