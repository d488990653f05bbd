"""Checkpoints as users have them: every form gives the same tensors, every mistake a sentence."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_ltx import (
    LTX_2_0,
    LTX_2_3,
    LTX_2_5,
    VERSIONS,
    build_tiny,
    file_tensors,
    write_tiny,
)
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from stdrc_core.ltx import checkpoint_files
from stdrc_core.ltx.backbone import VideoBackbone, load_backbone
from stdrc_core.ltx.checkpoint import TRANSFORMER_PREFIX, write_checkpoint
from stdrc_core.ltx.checkpoint_files import open_checkpoint
from stdrc_core.ltx.transformer_config import arguments_of

Tensors = dict[str, Tensor]


def short(tensors: Tensors, prefix: str = "") -> Tensors:
    return {prefix + k.removeprefix(TRANSFORMER_PREFIX): v for k, v in tensors.items()}


def connectors() -> Tensors:
    """What stands beside the transformer under its prefix, and is the text encoder's."""
    names = ("video_embeddings_connector.learnable_registers", "caption_projection.weight")
    return {TRANSFORMER_PREFIX + name: torch.zeros(2, 2) for name in names}


def write_single(folder: Path, settings: dict[str, Any]) -> Path:
    others = {"vae.decoder.conv_in.weight": torch.zeros(1), "vocoder.up": torch.ones(1).to(int)}
    tensors = file_tensors(build_tiny(settings)) | others
    if settings.get("caption_proj_before_connector"):
        tensors |= connectors()
    return write_checkpoint(folder / "single.safetensors", tensors, {"transformer": settings})


def write_split(prefix: str) -> Callable[[Path, dict[str, Any]], Path]:
    def write(folder: Path, settings: dict[str, Any]) -> Path:
        tensors = short(file_tensors(build_tiny(settings)), prefix)
        return write_checkpoint(folder / "a.safetensors", tensors, {"transformer": settings})

    return write


def write_without_metadata(folder: Path, settings: dict[str, Any]) -> Path:
    save_file(short(file_tensors(build_tiny(settings))), folder / "bare.safetensors")
    return folder / "bare.safetensors"


def write_folder(folder: Path, settings: dict[str, Any]) -> Path:
    build_tiny(settings).save_pretrained(folder)
    return folder


def write_pipeline_of_shards(folder: Path, settings: dict[str, Any]) -> Path:
    build_tiny(settings).save_pretrained(folder / "transformer", max_shard_size="1MB")
    assert len([*(folder / "transformer").glob("*.safetensors")]) > 1
    return folder


FORMS = {
    "single file": write_single,
    "split, whole prefix": write_split(TRANSFORMER_PREFIX),
    "split, short prefix": write_split("diffusion_model."),
    "split, no prefix": write_split(""),
    "folder": write_folder,
    "pipeline folder of shards": write_pipeline_of_shards,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("version", VERSIONS)
def test_all_forms_give_the_same_model(tmp_path: Path, form: str, version: str):
    settings = VERSIONS[version]
    whole = build_tiny(settings)
    loaded = load_backbone(FORMS[form](tmp_path, settings), dtype=None).transformer
    expected = VideoBackbone(whole).transformer
    assert json.dumps(public(loaded.config)) == json.dumps(public(expected.config))
    assert_same_tensors(loaded.state_dict(), expected.state_dict())


@pytest.mark.parametrize("settings", [LTX_2_3, LTX_2_5])
def test_a_gated_model_without_metadata_tells_its_sizes_by_its_tensors(
    tmp_path: Path, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
):
    whole = build_tiny(settings)
    with caplog.at_level(logging.WARNING):
        loaded = load_backbone(write_without_metadata(tmp_path, settings), dtype=None).transformer
    assert "no config in its metadata" in caplog.text
    assert "rope_type = split" in caplog.text
    # Of what the video does not use, no tensor tells.
    unused = {"caption_channels": 48, "cross_attn_timestep_scale_multiplier": 1000.0}
    assert public(loaded.config) | unused == public(whole.config)
    assert_same_tensors(loaded.state_dict(), VideoBackbone(whole).transformer.state_dict())


def test_a_reading_is_a_copy_that_the_file_does_not_share(tmp_path: Path):
    path = write_tiny(tmp_path / "tiny.safetensors", LTX_2_3)
    before = path.read_bytes()
    backbone = load_backbone(path, dtype=None)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.fill_(7)
    assert path.read_bytes() == before
    path.write_bytes(b"")
    assert all((parameter == 7).all() for parameter in backbone.parameters())


def test_only_the_tensors_asked_for_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The audio's are a third of the file: they stay on disk."""
    path = write_tiny(tmp_path / "tiny.safetensors", LTX_2_3)
    read = []

    class Recorder:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.file = safe_open(*args, **kwargs)

        def __enter__(self) -> Any:
            self.file.__enter__()
            return self

        def __exit__(self, *args: Any) -> None:
            self.file.__exit__(*args)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def get_tensor(self, name: str) -> Tensor:
            read.append(name)
            return self.file.get_tensor(name)

    monkeypatch.setattr("stdrc_core.ltx.checkpoint_files.safe_open", Recorder)
    backbone = load_backbone(path, dtype=None)
    assert len(read) == len(set(read)) == len(backbone.state_dict())
    assert not any("audio" in name for name in read)


# Mistakes


def refused(path: Path | str) -> str:
    with pytest.raises(ValueError) as error:
        load_backbone(path, dtype=None)
    message = str(error.value)
    assert message.endswith(".")
    assert ". " not in message.replace(str(path), "")
    return message


def test_a_path_where_nothing_is(tmp_path: Path):
    message = refused(tmp_path / "typo.safetensors")
    assert "typo.safetensors does not exist; needs a .safetensors file or a diffusers" in message


@pytest.mark.parametrize("num_bytes", [0, 5, 1000, -8, -100_000])
def test_a_file_that_is_cut_short(tmp_path: Path, num_bytes: int):
    path = write_tiny(tmp_path / "tiny.safetensors", LTX_2_3)
    path.write_bytes(path.read_bytes()[:num_bytes])
    message = refused(path)
    assert "could not be read as safetensors" in message
    assert "download it again" in message


def test_a_file_that_is_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As torch says it of a file of 26 GiB on a machine of 23 GiB."""

    def refuse(path: Path, framework: str) -> None:
        raise RuntimeError(f"unable to mmap 27917287424 bytes from file <{path}>: Cannot allocate")

    path = write_tiny(tmp_path / "tiny.safetensors", LTX_2_3)
    monkeypatch.setattr(checkpoint_files, "safe_open", refuse)
    message = refused(path)
    assert "could not be mapped into memory (unable to mmap" in message
    assert message.endswith("add swap.")


def test_a_file_that_is_a_pickle(tmp_path: Path):
    torch.save(file_tensors(build_tiny(LTX_2_3)), tmp_path / "model.ckpt")
    assert "could not be read as safetensors" in refused(tmp_path / "model.ckpt")


@pytest.mark.parametrize(
    ("names", "appearance"),
    [
        (["diffusion_model.transformer_blocks.0.attn1.to_q.lora_A.weight"], "looks like a LoRA"),
        (["vae.decoder.conv_in.weight"], "looks like a VAE"),
        (["decoder.conv_in.conv.weight", "encoder.conv_in.conv.weight"], "looks like a VAE"),
        (["model.embed_tokens.weight"], "looks like a text encoder"),
        (["transformer_blocks.0.attn1.norm_q.weight"], "one file of a diffusers folder"),
        (["x_embedder.weight", "b", "c", "d"], "another model (its tensors: b, c, d, ...)"),
        ([], "another model (its tensors: none)"),
    ],
)
def test_a_file_that_is_no_transformer(tmp_path: Path, names: list[str], appearance: str):
    path = tmp_path / "other.safetensors"
    save_file({name: torch.zeros(2) for name in names}, path)
    message = refused(path)
    assert appearance in message
    assert "training needs an LTX-2 (2.0, 2.3 or 2.5) checkpoint" in message


@pytest.mark.parametrize("with_metadata", [True, False])
def test_ltx_video_0_9(tmp_path: Path, with_metadata: bool):
    tensors = {k: v for k, v in file_tensors(build_tiny(LTX_2_0)).items() if "audio" not in k}
    settings = {"_class_name": "Transformer3DModel", "num_layers": 2}
    config = {"transformer": settings} if with_metadata else {}
    path = write_checkpoint(tmp_path / "ltxv.safetensors", tensors, config)
    assert "is LTX-Video 0.9, which is older; training needs an LTX-2" in refused(path)


def test_a_folder_of_ltx_video_0_9(tmp_path: Path):
    write_folder(tmp_path, LTX_2_3)
    edit_json(tmp_path / "config.json", _class_name="LTXVideoTransformer3DModel")
    assert "holds a LTXVideoTransformer3DModel; training needs a LTX2Video" in refused(tmp_path)


@pytest.mark.parametrize(("dtype", "kind"), [(torch.float8_e4m3fn, "F8_E4M3"), (torch.int8, "I8")])
def test_a_model_in_8_bits_without_scales(tmp_path: Path, dtype: torch.dtype, kind: str):
    tensors = file_tensors(build_tiny(LTX_2_3))
    name = f"{TRANSFORMER_PREFIX}transformer_blocks.0.ff.net.2.weight"
    tensors[name] = tensors[name].to(dtype)
    path = write_checkpoint(tmp_path / "fp8.safetensors", tensors, {"transformer": LTX_2_3})
    message = refused(path)
    assert f"holds {kind} weights with no scale ({name}), which cannot be read back" in message
    assert "take the model's bfloat16 file (ltx-2.3-22b-dev.safetensors, or" in message


def test_tensors_that_are_missing(tmp_path: Path):
    tensors = file_tensors(build_tiny(LTX_2_3))
    lost = [name for name in tensors if ".0.ff." in name]
    path = write_checkpoint(
        tmp_path / "holes.safetensors",
        {name: tensor for name, tensor in tensors.items() if name not in lost},
        {"transformer": LTX_2_3},
    )
    message = refused(path)
    assert "lacks 4 of the model's" in message
    assert all(name in message for name in lost[:3])
    assert lost[3] not in message


def test_tensors_of_another_shape(tmp_path: Path):
    path = write_checkpoint(
        tmp_path / "other.safetensors",
        file_tensors(build_tiny(LTX_2_3)),
        {"transformer": LTX_2_3 | {"attention_head_dim": 32, "cross_attention_dim": 128}},
    )
    message = refused(path)
    assert f"{TRANSFORMER_PREFIX}patchify_proj.weight is [96, 128], not [128, 128]" in message


def test_tensors_that_the_config_knows_nothing_of(tmp_path: Path):
    """A model of tomorrow: what it has more may not be left out in silence."""
    name = f"{TRANSFORMER_PREFIX}sense_of_smell"
    tensors = file_tensors(build_tiny(LTX_2_5)) | {name: torch.zeros(1)}
    path = write_checkpoint(tmp_path / "new.safetensors", tensors, {"transformer": LTX_2_5})
    message = refused(path)
    assert "has 1 tensors that its config does not lead to" in message
    assert name in message


def test_the_marker_is_known_by_its_tensor_where_no_setting_names_it(tmp_path: Path):
    """As in ComfyUI."""
    settings = {k: v for k, v in LTX_2_5.items() if "keyframes" not in k}
    tensors = file_tensors(build_tiny(LTX_2_5))
    path = write_checkpoint(tmp_path / "a.safetensors", tensors, {"transformer": settings})
    loaded = load_backbone(path, dtype=None).transformer
    assert loaded.config.use_keyframes_abs_pos_embedding
    expected = VideoBackbone(build_tiny(LTX_2_5)).transformer.state_dict()
    assert_same_tensors(loaded.state_dict(), expected)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"use_middle_indices_grid": False}, "use_middle_indices_grid = False; needs True"),
        ({"causal_temporal_positioning": False}, "causal_temporal_positioning = False; needs"),
        ({"num_layers": "48"}, "num_layers = '48'; needs a value such as 48"),
        ({"ff_bias": 1}, "ff_bias = 1; needs a value such as True"),
        ({"positional_embedding_max_pos": [20]}, "positional_embedding_max_pos = [20]; needs"),
    ],
)
def test_a_config_that_diffusers_cannot_follow(settings: dict[str, Any], expected: str):
    with pytest.raises(ValueError) as error:
        arguments_of(LTX_2_3 | settings, "checkpoint x.safetensors")
    assert f"checkpoint x.safetensors has {expected}" in str(error.value)


@pytest.mark.parametrize("config", ["{", "[]", '{"transformer": 3}'])
def test_metadata_that_is_damaged(tmp_path: Path, config: str):
    path = tmp_path / "damaged.safetensors"
    save_file(file_tensors(build_tiny(LTX_2_3)), path, metadata={"config": config})
    assert "damaged.safetensors" in refused(path)


def test_a_model_without_metadata_and_without_gates(tmp_path: Path):
    message = refused(write_without_metadata(tmp_path, LTX_2_0))
    assert "its number of attention heads cannot be told from its tensors" in message


def test_a_model_without_metadata_and_without_blocks(tmp_path: Path):
    tensors = file_tensors(build_tiny(LTX_2_3))
    save_file({k: v for k, v in tensors.items() if "attn2" not in k}, tmp_path / "a.safetensors")
    message = refused(tmp_path / "a.safetensors")
    assert "has no config in its metadata and lacks" in message
    assert "attn2.to_k.weight" in message


def test_a_folder_without_a_model(tmp_path: Path):
    assert "has no config.json, nor a folder transformer with one" in refused(tmp_path)


def test_a_folder_without_safetensors_or_with_two(tmp_path: Path):
    write_folder(tmp_path, LTX_2_3)
    (weights,) = tmp_path.glob("*.safetensors")
    (tmp_path / "b.safetensors").write_bytes(weights.read_bytes())
    assert "found b.safetensors, diffusion_pytorch_model.safetensors" in refused(tmp_path)
    for file in tmp_path.glob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    assert "found none" in refused(tmp_path)


def test_a_folder_with_a_shard_missing(tmp_path: Path):
    write_pipeline_of_shards(tmp_path, LTX_2_3)
    shards = sorted((tmp_path / "transformer").glob("*.safetensors"))
    shards[-1].unlink()
    message = refused(tmp_path)
    assert shards[-1].name in message
    assert "could not be read" in message


def test_a_folder_with_a_damaged_index_or_config(tmp_path: Path):
    write_pipeline_of_shards(tmp_path, LTX_2_3)
    (index,) = (tmp_path / "transformer").glob("*.index.json")
    index.write_text("{}")
    assert "has no weight_map" in refused(tmp_path)
    (tmp_path / "transformer" / "config.json").write_bytes(b"\xff\xfe{")
    index.unlink()
    assert "found diffusion_pytorch_model-00001-of" in refused(tmp_path)


def test_a_folder_of_a_newer_diffusers(tmp_path: Path):
    write_folder(tmp_path, LTX_2_3)
    edit_json(tmp_path / "config.json", uses_smell=True)
    message = refused(tmp_path)
    assert "has settings that this diffusers does not know (uses_smell)" in message


def test_an_opened_checkpoint_holds_shapes_and_config_but_no_tensor(tmp_path: Path):
    path = write_single(tmp_path, LTX_2_3)
    checkpoint = open_checkpoint(path)
    assert checkpoint.config == {"transformer": LTX_2_3}
    assert checkpoint.tensors[f"{TRANSFORMER_PREFIX}patchify_proj.weight"].shape == (96, 128)
    assert "vae.decoder.conv_in.weight" in checkpoint.tensors
    assert len(repr(checkpoint)) < 200


def public(config: dict[str, Any]) -> dict[str, Any]:
    """A transformer's settings without diffusers' own notes."""
    return {name: config[name] for name in sorted(config) if not name.startswith("_")}


def edit_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def assert_same_tensors(got: Tensors, expected: Tensors) -> None:
    assert list(got) == list(expected)
    assert [key for key in expected if not torch.equal(got[key], expected[key])] == []
