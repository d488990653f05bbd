"""The miniature's file: its names against diffusers' own converters, and how it is written."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel
from diffusers.loaders.single_file_utils import (
    convert_ltx2_transformer_to_diffusers,
    convert_ltx2_vae_to_diffusers,
)
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from stdrc_core.ltx import checkpoint
from stdrc_core.ltx.checkpoint import connector_key, transformer_key, vae_key, write_checkpoint
from stdrc_core.mini.config import AUDIO_HEAD_DIM, HEAD_DIM
from stdrc_core.mini_build.random_weights import (
    build_connector,
    build_transformer,
    build_vae,
    random_tensors,
    write_miniature,
)

TRANSFORMER, VAE = "model.diffusion_model.", "vae."
CONNECTORS = (
    f"{TRANSFORMER}video_embeddings_connector.",
    f"{TRANSFORMER}audio_embeddings_connector.",
)
# What diffusers 0.42 still leaves as the file has it (docs/method.md section 13).
LEFT_BY_DIFFUSERS = {
    "prompt_adaln_single.": "prompt_adaln.",
    "audio_prompt_adaln_single.": "audio_prompt_adaln.",
}


@pytest.fixture(scope="module")
def tensors(mini_checkpoint: Path) -> dict[str, Tensor]:
    return load_file(mini_checkpoint)


@pytest.fixture(scope="module")
def metadata(mini_checkpoint: Path) -> dict[str, dict]:
    with safe_open(mini_checkpoint, framework="pt") as file:
        return json.loads(file.metadata()["config"])


def diffusers_transformer(file: dict[str, Tensor]) -> dict[str, Tensor]:
    """The transformer's part of a file, as diffusers' converter renames it."""
    own = {key: tensor for key, tensor in file.items() if key.startswith(TRANSFORMER)}
    converted = convert_ltx2_transformer_to_diffusers(own)
    for theirs, name in LEFT_BY_DIFFUSERS.items():
        for key in [key for key in converted if key.startswith(theirs)]:
            converted[name + key.removeprefix(theirs)] = converted.pop(key)
    return converted


def diffusers_vae(file: dict[str, Tensor]) -> dict[str, Tensor]:
    own = {key: tensor for key, tensor in file.items() if key.startswith(VAE)}
    return convert_ltx2_vae_to_diffusers(own)


def assert_strict_load(module: nn.Module, state: dict[str, Tensor]) -> None:
    result = module.load_state_dict(state, strict=False)
    assert result.missing_keys == []
    assert result.unexpected_keys == []
    for key, tensor in module.state_dict().items():
        assert torch.equal(tensor, state[key].to(tensor.dtype)), key


def assert_round_trip(
    module: nn.Module,
    rename: Callable[[str], str],
    convert: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> None:
    """Every key comes back from the file's names with the very tensor that it left with."""
    state = module.state_dict()
    file = {rename(key): tensor for key, tensor in state.items()}
    assert len(file) == len(state)
    back = convert(file)
    assert back.keys() == state.keys()
    assert [key for key in state if back[key] is not state[key]] == []


# The names in the file


def test_diffusers_loads_the_files_transformer_strictly(tensors: dict[str, Tensor]):
    assert_strict_load(build_transformer(), diffusers_transformer(tensors))


def test_diffusers_loads_the_files_vae_strictly(tensors: dict[str, Tensor]):
    assert_strict_load(build_vae(), diffusers_vae(tensors))


def test_every_key_of_the_transformer_comes_back_from_diffusers_converter():
    assert_round_trip(build_transformer(), transformer_key, diffusers_transformer)


def test_every_key_of_the_vae_comes_back_from_diffusers_converter():
    assert_round_trip(build_vae(), lambda key: vae_key(key, 4), diffusers_vae)


def test_every_key_of_the_full_size_ltx_2_comes_back_too():
    """48 layers and deep VAE blocks: names that the miniature does not have."""
    with torch.device("meta"):
        transformer = LTX2VideoTransformer3DModel(
            gated_attn=True,
            audio_gated_attn=True,
            cross_attn_mod=True,
            audio_cross_attn_mod=True,
            use_prompt_embeddings=False,
        )
        vae = AutoencoderKLLTX2Video()
    assert len(transformer.transformer_blocks) == 48
    assert_round_trip(transformer, transformer_key, diffusers_transformer)
    assert_round_trip(vae, lambda key: vae_key(key, 4), diffusers_vae)


def test_connectors_are_in_the_file_under_the_names_that_diffusers_drops(
    tensors: dict[str, Tensor],
):
    """diffusers' transformer has no connectors: its converter leaves these keys, and only these."""
    own = {key: tensor for key, tensor in tensors.items() if key.startswith(TRANSFORMER)}
    kept = diffusers_transformer(tensors)
    connectors = [key for key in own if key.startswith(CONNECTORS)]
    assert len(own) - len(kept) == len(connectors)
    for head_dim, modality in ((HEAD_DIM, "video"), (AUDIO_HEAD_DIM, "audio")):
        state = build_connector(head_dim).state_dict()
        prefix = f"{TRANSFORMER}{modality}_embeddings_connector."
        named = {connector_key(key, modality): key for key in state}
        assert named.keys() == {key for key in connectors if key.startswith(prefix)}
        assert all(tensors[name].shape == state[key].shape for name, key in named.items())
        block = f"{prefix}transformer_1d_blocks.0."
        assert named[f"{prefix}learnable_registers"] == "learnable_registers"
        assert named[f"{block}attn1.q_norm.weight"] == "transformer_blocks.0.attn1.norm_q.weight"
        assert named[f"{block}ff.net.2.bias"] == "transformer_blocks.0.ff.net.2.bias"


def test_the_file_holds_the_transformer_and_the_vae_and_nothing_else(tensors: dict[str, Tensor]):
    assert [key for key in tensors if not key.startswith((TRANSFORMER, VAE))] == []
    converted = len(diffusers_transformer(tensors)) + len(diffusers_vae(tensors))
    assert len(tensors) == converted + sum(key.startswith(CONNECTORS) for key in tensors)


def test_the_names_are_those_of_comfyuis_modules(tensors: dict[str, Tensor]):
    """A round trip lets a name through that was never changed: here they are, as ComfyUI has them.

    Attributes of LTXAVModel and VideoVAE in ComfyUI 0.22; `#` stands for any number.
    """
    own = [key.removeprefix(TRANSFORMER) for key in tensors if key.startswith(TRANSFORMER)]
    blocks = [key.split(".")[2:] for key in own if key.startswith("transformer_blocks.")]
    adaln = ("", "audio_", "prompt_", "audio_prompt_")
    av_ca = ("video_scale_shift", "audio_scale_shift", "a2v_gate", "v2a_gate")
    assert {key.split(".")[0] for key in own} == {
        *("patchify_proj", "audio_patchify_proj", "proj_out", "audio_proj_out"),
        *("scale_shift_table", "audio_scale_shift_table", "transformer_blocks"),
        *("video_embeddings_connector", "audio_embeddings_connector"),
        *(f"{name}adaln_single" for name in adaln),
        *(f"av_ca_{name}_adaln_single" for name in av_ca),
    }
    assert {names[0] for names in blocks} == {
        *("attn1", "attn2", "ff", "audio_attn1", "audio_attn2", "audio_ff"),
        *("audio_to_video_attn", "video_to_audio_attn"),
        *("scale_shift_table", "audio_scale_shift_table"),
        *("prompt_scale_shift_table", "audio_prompt_scale_shift_table"),
        *("scale_shift_table_a2v_ca_video", "scale_shift_table_a2v_ca_audio"),
    }
    attention = {names[1] for names in blocks if "attn" in names[0]}
    assert attention == {"q_norm", "k_norm", "to_q", "to_k", "to_v", "to_out", "to_gate_logits"}
    vae = {re.sub(r"\d+", "#", key.removeprefix(VAE)) for key in tensors if key.startswith(VAE)}
    assert {key.rpartition(".")[0] for key in vae} == {
        *("encoder.conv_in.conv", "encoder.down_blocks.#.conv.conv", "encoder.conv_out.conv"),
        *("decoder.conv_in.conv", "decoder.up_blocks.#.conv.conv", "decoder.conv_out.conv"),
        "decoder.up_blocks.#.res_blocks.#.conv#.conv",
        "per_channel_statistics",
    }


# What the metadata says is what the tensors are


def test_the_config_describes_the_transformers_tensors(
    metadata: dict[str, dict], tensors: dict[str, Tensor]
):
    config = metadata["transformer"]
    inner = config["num_attention_heads"] * config["attention_head_dim"]
    audio = config["audio_num_attention_heads"] * config["audio_attention_head_dim"]

    def shape(key: str) -> list[int]:
        return list(tensors[TRANSFORMER + key].shape)

    assert shape("patchify_proj.weight") == [inner, config["in_channels"]]
    assert shape("audio_patchify_proj.weight") == [audio, config["audio_in_channels"]]
    block = "transformer_blocks.0."
    assert shape(block + "attn2.to_k.weight") == [inner, config["cross_attention_dim"]]
    assert shape(block + "audio_attn2.to_k.weight") == [audio, config["audio_cross_attention_dim"]]
    assert shape(block + "attn1.to_gate_logits.weight")[0] == config["num_attention_heads"]
    assert len(_block_numbers(tensors, TRANSFORMER + "transformer_blocks.")) == config["num_layers"]
    connector = TRANSFORMER + "video_embeddings_connector.transformer_1d_blocks."
    assert len(_block_numbers(tensors, connector)) == config["connector_num_layers"]


def test_the_config_describes_the_vaes_tensors(
    metadata: dict[str, dict], tensors: dict[str, Tensor]
):
    config = metadata["vae"]
    for part, blocks in (("encoder.down", "encoder_blocks"), ("decoder.up", "decoder_blocks")):
        # A block of no layers has no tensors.
        layers = [options.get("num_layers", 1) for _, options in config[blocks]]
        if part.startswith("decoder"):
            # Listed from the pixels on, numbered from the latent on.
            layers.reverse()
        filled = {str(index) for index, num_layers in enumerate(layers) if num_layers}
        assert _block_numbers(tensors, f"{VAE}{part}_blocks.") == filled
    means = tensors[f"{VAE}per_channel_statistics.mean-of-means"]
    assert means.shape == (config["latent_channels"],)


def test_the_config_names_the_switches_of_ltx_2_3(metadata: dict[str, dict]):
    """docs/method.md section 13: the attention layers and positions of LTX-2.3."""
    config = metadata["transformer"]
    for switch in (
        "apply_gated_attention",
        "cross_attention_adaln",
        "caption_proj_before_connector",
        "use_middle_indices_grid",
        "causal_temporal_positioning",
    ):
        assert config[switch] is True
    assert (config["rope_type"], config["frequencies_precision"]) == ("split", "float64")
    assert config["audio_num_attention_heads"] == config["num_attention_heads"]


def test_the_weights_are_finite_and_small(mini_checkpoint: Path, tensors: dict[str, Tensor]):
    assert mini_checkpoint.stat().st_size < 16e6
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


# Seeds


def test_the_same_seed_gives_the_same_file_whatever_the_global_generator_holds(
    mini_checkpoint: Path, tmp_path: Path
):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(987)
        again = write_miniature(tmp_path / "again.safetensors")
    assert again.read_bytes() == mini_checkpoint.read_bytes()


def test_another_seed_gives_other_weights_under_the_same_names(tensors: dict[str, Tensor]):
    other = random_tensors(1)
    assert {key: tensor.shape for key, tensor in other.items()} == {
        key: tensor.shape for key, tensor in tensors.items()
    }
    weights = [key for key in tensors if tensors[key].float().std() > 0]
    assert len(weights) > len(tensors) / 2
    assert [key for key in weights if torch.equal(other[key], tensors[key])] == []


def test_the_global_generator_is_left_as_it_was():
    before = torch.get_rng_state()
    random_tensors(5)
    assert torch.equal(torch.get_rng_state(), before)


# How a file is written


def half_written(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """What a full disk does to a save."""
    del tensors, metadata
    Path(path).write_bytes(b"half a file")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_save_that_fails_halfway_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoint, "save_file", half_written)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write_checkpoint(tmp_path / "new.safetensors", {"a": torch.zeros(2)}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_halfway_leaves_the_old_file_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_checkpoint(tmp_path / "old.safetensors", {"a": torch.arange(3)}, {"version": 1})
    old = path.read_bytes()
    monkeypatch.setattr(checkpoint, "save_file", half_written)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write_checkpoint(path, {"a": torch.zeros(2)}, {})
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == old


def test_a_target_that_cannot_be_replaced_leaves_no_partial_file(tmp_path: Path):
    folder = tmp_path / "taken.safetensors"
    folder.mkdir()
    with pytest.raises(OSError):
        write_checkpoint(folder, {"a": torch.zeros(2)}, {})
    assert list(tmp_path.iterdir()) == [folder]


def test_tensors_that_safetensors_refuses_leave_nothing(tmp_path: Path):
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError, match="share memory"):
        write_checkpoint(tmp_path / "new.safetensors", {"a": shared, "b": shared}, {})
    assert list(tmp_path.iterdir()) == []


def test_writing_replaces_an_old_file_and_makes_missing_folders(tmp_path: Path):
    path = tmp_path / "models" / "checkpoints" / "mini.safetensors"
    for version in (1, 2):
        written = write_checkpoint(path, {"a": torch.full((2, 3), version).T}, {"version": version})
        assert written == path
    assert list(path.parent.iterdir()) == [path]
    assert torch.equal(load_file(path)["a"], torch.full((3, 2), 2))
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["config"]) == {"version": 2}


def _block_numbers(tensors: dict[str, Tensor], prefix: str) -> set[str]:
    """The numbers of the blocks under `prefix` that hold a tensor."""
    return {key.removeprefix(prefix).split(".")[0] for key in tensors if key.startswith(prefix)}
