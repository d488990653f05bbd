"""Weights in ComfyUI's 8-bit formats: read back by their scales, in every file that is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_gemma4, tiny_ltx
from helpers.packed import FORMATS, pack, packed_file
from safetensors.torch import load_file, save_file
from torch import Tensor

from stdrc_core.ltx.backbone import load_backbone
from stdrc_core.ltx.checkpoint import TRANSFORMER_PREFIX
from stdrc_core.ltx.packed_weights import hadamard
from stdrc_core.ltx.text import load_gemma

CPU = torch.device("cpu")
SETTINGS = tiny_gemma4.SETTINGS


@pytest.mark.parametrize("size", [4, 16, 64, 256])
def test_the_rotation_is_the_regular_hadamard_matrix(size: int):
    """Orthogonal, symmetric, entries of one size, and every row has one sum."""
    matrix = hadamard(size)
    torch.testing.assert_close(matrix @ matrix, torch.eye(size))
    assert torch.equal(matrix, matrix.T)
    torch.testing.assert_close(matrix.abs(), torch.full((size, size), size**-0.5))
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(size))
    with pytest.raises(ValueError, match="group size was 8; needs a power of 4"):
        hadamard(8)


def by_numpy(stored: dict[str, Tensor], layer: str, kind: str) -> np.ndarray:
    """A weight read back in float64, and its rotation by an explicit loop over groups."""
    scale = stored[f"{layer}.weight_scale"].double().numpy()
    weight = stored[f"{layer}.weight"].double().numpy() * scale
    if kind != "int8 convrot":
        return weight
    base = np.array([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]]) / 2
    rotation = np.kron(base, base)
    groups = [weight[:, i : i + 16] @ rotation for i in range(0, weight.shape[1], 16)]
    return np.concatenate(groups, axis=1)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_transformer_is_read_back(tmp_path: Path, kind: str):
    whole = tiny_ltx.file_tensors(tiny_ltx.build_tiny(tiny_ltx.LTX_2_5))
    path = packed_file(tmp_path / "packed.safetensors", whole, kind, tiny_ltx.LTX_2_5)
    stored = load_file(path)
    got = load_backbone(path, dtype=torch.float32).transformer.state_dict()
    num_packed = 0
    for key, value in got.items():
        layer = TRANSFORMER_PREFIX + tiny_ltx.transformer_key(key).removeprefix(TRANSFORMER_PREFIX)
        layer = layer.removesuffix(".weight")
        if f"{layer}.weight_scale" not in stored:
            continue
        expected = by_numpy(stored, layer, kind)
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-5, atol=1e-6)
        # And it is near the weight that was packed: rounding alone is between them.
        error = (value - whole[f"{layer}.weight"]).norm() / whole[f"{layer}.weight"].norm()
        assert 0 < error < 0.06
        num_packed += 1
    assert num_packed == 2 * 10


def test_without_a_dtype_they_become_bfloat16(tmp_path: Path):
    whole = tiny_ltx.file_tensors(tiny_ltx.build_tiny(tiny_ltx.LTX_2_5))
    path = packed_file(tmp_path / "packed.safetensors", whole, "int8 convrot", tiny_ltx.LTX_2_5)
    dtypes = {p.dtype for p in load_backbone(path, dtype=None).parameters()}
    assert dtypes == {torch.bfloat16, torch.float32}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_text_encoder_and_a_connector_are_read_back(tmp_path: Path, kind: str):
    gemma, connectors = tiny_gemma4.build(), tiny_gemma4.build_connectors()
    plain = tiny_gemma4.write_transformer(tmp_path / "a.safetensors", connectors)
    whole = load_file(plain)
    names = [n for n in whole if "video_embeddings_connector" in n and n.endswith("to_q.weight")]
    checkpoint = packed_file(tmp_path / "b.safetensors", whole, kind, SETTINGS, names)
    encoder = tiny_gemma4.packed_tensors(gemma, connectors)
    names = [n for n in encoder if ".mlp." in n or "aggregate_embed.weight" in n]
    names.append("model.embed_tokens.weight")
    packed = packed_file(
        tmp_path / "c.safetensors", encoder, kind, None, names, tiny_gemma4.metadata()
    )
    got = load_gemma(packed, checkpoint, CPU, torch.float32)
    stored = load_file(packed)
    expected = by_numpy(stored, "model.layers.2.mlp.gate_proj", kind)
    weight = got.model.layers[2].mlp.gate_proj.weight.detach().numpy()
    np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)
    layer = "model.diffusion_model.video_embeddings_connector.transformer_1d_blocks.0.attn1.to_q"
    expected = by_numpy(load_file(checkpoint), layer, kind)
    weight = got.connector.connector.transformer_blocks[0].attn1.to_q.weight.detach().numpy()
    np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)
    embedding = got.encode("a red car")
    from_plain = load_gemma(
        tiny_gemma4.write_packed(tmp_path / "d.safetensors", gemma, connectors),
        plain,
        CPU,
        torch.float32,
    ).encode("a red car")
    assert 0 < (embedding - from_plain).norm() / from_plain.norm() < 0.3


def test_older_files_of_comfyui_are_read_back(tmp_path: Path):
    """fp8 with scales called scale_weight, and a mark scaled_fp8 of its own."""
    whole = tiny_ltx.file_tensors(tiny_ltx.build_tiny(tiny_ltx.LTX_2_3))
    path = packed_file(tmp_path / "new.safetensors", whole, "fp8", tiny_ltx.LTX_2_3)
    stored = {
        name.replace("weight_scale", "scale_weight"): value
        for name, value in load_file(path).items()
        if not name.endswith("comfy_quant")
    }
    stored[f"{TRANSFORMER_PREFIX}scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    layer = f"{TRANSFORMER_PREFIX}transformer_blocks.0.ff.net.2"
    stored[f"{layer}.scale_input"] = torch.ones(())
    old = tiny_ltx.write_checkpoint(
        tmp_path / "old.safetensors", stored, {"transformer": tiny_ltx.LTX_2_3}
    )
    got, expected = (load_backbone(each, dtype=torch.float32).state_dict() for each in (old, path))
    assert all(torch.equal(got[key], value) for key, value in expected.items())


def test_formats_in_the_metadata_are_read(tmp_path: Path):
    whole = tiny_ltx.file_tensors(tiny_ltx.build_tiny(tiny_ltx.LTX_2_3))
    path = packed_file(tmp_path / "new.safetensors", whole, "int8 convrot", tiny_ltx.LTX_2_3)
    stored, layers = {}, {}
    for name, value in load_file(path).items():
        if name.endswith(".comfy_quant"):
            layers[name.removesuffix(".comfy_quant")] = json.loads(bytes(value.tolist()))
        else:
            stored[name] = value
    metadata = {
        "_quantization_metadata": json.dumps({"layers": layers}),
        "config": json.dumps({"transformer": tiny_ltx.LTX_2_3}),
    }
    save_file(stored, tmp_path / "old.safetensors", metadata=metadata)
    got, expected = (
        load_backbone(each, dtype=torch.float32).state_dict()
        for each in (tmp_path / "old.safetensors", path)
    )
    assert all(torch.equal(got[key], value) for key, value in expected.items())


@pytest.mark.parametrize("form", ["nvfp4", "mxfp8", "convrot_w4a4", "asym_w4a8_int8", "int3"])
def test_another_format_is_one_sentence(tmp_path: Path, form: str):
    whole = tiny_ltx.file_tensors(tiny_ltx.build_tiny(tiny_ltx.LTX_2_5))
    name = f"{TRANSFORMER_PREFIX}transformer_blocks.1.attn1.to_q.weight"
    whole |= pack(name, whole[name], "int8", {"format": form})
    path = tiny_ltx.write_checkpoint(
        tmp_path / "other.safetensors", whole, {"transformer": tiny_ltx.LTX_2_5}
    )
    with pytest.raises(ValueError) as raised:
        load_backbone(path, dtype=None)
    message: Any = str(raised.value)
    assert f"holds I8 weights with the format {form} ({name}), which cannot be read" in message
    assert "ltx-2.5-22b-dev-transformer-bf16.safetensors" in message
    assert ". " not in message.replace(str(path), "")
