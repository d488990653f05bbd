"""Layouts of quantised files that no scale of ComfyUI's explains: refused before a weight is read.

Each is refused for the transformer and for the connector, which `prepare` loads without it, in a
sentence that names the file to take.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import tiny_gemma4, tiny_ltx, tiny_text_encoders
from helpers.one_sentence import assert_one_sentence
from helpers.packed import FORMATS, pack, packed_file
from safetensors.torch import load_file, save_file
from torch import Tensor

from stdrc_core.ltx.backbone import load_backbone
from stdrc_core.ltx.checkpoint import TRANSFORMER_PREFIX
from stdrc_core.ltx.checkpoint_files import open_checkpoint
from stdrc_core.ltx.connector import load_connector
from stdrc_core.ltx.text import load_gemma

F8 = torch.float8_e4m3fn


def _described(facts: object) -> Tensor:
    return torch.tensor(list(json.dumps(facts).encode()), dtype=torch.uint8)


def _blocks(weight: Tensor) -> Tensor:
    return torch.ones(-(-weight.shape[0] // 16), -(-weight.shape[1] // 16))


# What stands in the place of a layer's weight `[out, in]`, by what is put after the layer's name.
LAYOUTS: dict[str, Callable[[Tensor], dict[str, Tensor]]] = {
    "fp8 cast without a scale": lambda w: {"weight": w.to(F8)},
    "fp8 with inverse scales of blocks": lambda w: {
        "weight": w.to(F8),
        "weight_scale_inv": _blocks(w),
    },
    "fp8 with scales of blocks": lambda w: {"weight": w.to(F8), "weight_scale": _blocks(w)},
    "fp8 with a scale for each column": lambda w: {
        "weight": w.to(F8)[:, :-1].contiguous(),
        "weight_scale": torch.ones(1, w.shape[1] - 1),
    },
    "fp8 with an empty scale": lambda w: {"weight": w.to(F8), "scale_weight": torch.ones(0)},
    "int8 with a scale and no format": lambda w: {
        "weight": w.to(torch.int8),
        "weight_scale": torch.ones(len(w), 1),
    },
    "bitsandbytes int8": lambda w: {"weight": w.to(torch.int8), "SCB": torch.ones(len(w))},
    "bitsandbytes nf4": lambda w: {
        "weight": torch.zeros(w.numel() // 2, 1, dtype=torch.uint8),
        "weight.absmax": torch.ones(w.numel() // 64),
    },
    "quanto": lambda w: {"weight._data": w.to(torch.int8), "weight._scale": torch.ones(len(w), 1)},
    "GPTQ": lambda w: {
        "qweight": torch.zeros(w.shape[1] // 8, len(w), dtype=torch.int32),
        "scales": torch.ones(1, len(w)),
    },
    "nunchaku": lambda w: {
        "qweight": torch.zeros(len(w), w.shape[1] // 2, dtype=torch.int8),
        "wscales": torch.ones(1, len(w)),
    },
    "torchao": lambda w: {"weight_qdata": w.to(torch.int8), "weight_scale": torch.ones(len(w), 1)},
    "nvfp4": lambda w: {
        "weight": torch.zeros(len(w), w.shape[1] // 2, dtype=torch.uint8),
        "weight_scale": torch.ones(len(w), w.shape[1] // 16).to(F8),
        "weight_scale_2": torch.ones(()),
        "comfy_quant": _described({"format": "nvfp4"}),
    },
    "a format without a scale": lambda w: {
        "weight": w.to(F8),
        "comfy_quant": _described({"format": "float8_e4m3fn"}),
    },
    "ConvRot of 8": lambda w: {
        "weight": w.to(torch.int8),
        "weight_scale": torch.ones(len(w), 1),
        "comfy_quant": _described(
            {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 8}
        ),
    },
    "ConvRot in groups that do not fit": lambda w: {
        "weight": w.to(torch.int8),
        "weight_scale": torch.ones(len(w), 1),
        "comfy_quant": _described({"format": "int8_tensorwise", "convrot": True}),
    },
    "a damaged format": lambda w: {
        "weight": w.to(F8),
        "weight_scale": torch.ones(()),
        "comfy_quant": torch.tensor([123, 34], dtype=torch.uint8),
    },
}
TRANSFORMERS_LAYER = f"{TRANSFORMER_PREFIX}transformer_blocks.1.attn1.to_q"
CONNECTORS_LAYER = (
    f"{TRANSFORMER_PREFIX}video_embeddings_connector.transformer_1d_blocks.0.attn1.to_q"
)


@pytest.fixture(scope="module")
def transformer() -> dict[str, Tensor]:
    return tiny_ltx.file_tensors(tiny_ltx.build_tiny(tiny_ltx.LTX_2_3))


@pytest.fixture(scope="module")
def with_connector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "a.safetensors"
    return tiny_gemma4.write_transformer(path, tiny_gemma4.build_connectors())


def _put(tensors: dict[str, Tensor], layer: str, kind: str) -> dict[str, Tensor]:
    weight = tensors[f"{layer}.weight"].detach().float()
    rest = {k: v.detach().contiguous() for k, v in tensors.items() if k != f"{layer}.weight"}
    return rest | {f"{layer}.{name}": each for name, each in LAYOUTS[kind](weight).items()}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_transformer_is_refused(transformer: dict[str, Tensor], tmp_path: Path, kind: str):
    tensors = _put(transformer, TRANSFORMERS_LAYER, kind)
    path = tmp_path / "odd.safetensors"
    tiny_ltx.write_checkpoint(path, tensors, {"transformer": tiny_ltx.LTX_2_3})
    with pytest.raises(ValueError, match=r"odd\.safetensors") as raised:
        load_backbone(path, dtype=torch.float32)
    assert_one_sentence(raised.value)
    said = str(raised.value)
    assert "ltx-2.3-22b-dev.safetensors" in said or "download it again" in said


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_connector_is_refused(with_connector: Path, tmp_path: Path, kind: str):
    tensors = _put(load_file(with_connector), CONNECTORS_LAYER, kind)
    path = tmp_path / "odd.safetensors"
    save_file(tensors, path, metadata=dict(open_checkpoint(with_connector).metadata))
    encoder = tmp_path / "encoder.safetensors"
    tiny_gemma4.write_packed(encoder, tiny_gemma4.build(), tiny_gemma4.build_connectors())
    with pytest.raises(ValueError, match=r"odd\.safetensors") as raised:
        load_connector(path, open_checkpoint(encoder), dtype=torch.float32)
    assert_one_sentence(raised.value)


@pytest.mark.parametrize("stored", ["{", "[]", '{"layers": [1]}', '{"layers": {"a": 3}}', "{}"])
def test_formats_in_damaged_metadata_are_no_traceback(
    transformer: dict[str, Tensor], tmp_path: Path, stored: str
):
    """Where they say nothing of a layer that is there, the file is read as it is."""
    metadata = {
        "_quantization_metadata": stored,
        "config": json.dumps({"transformer": tiny_ltx.LTX_2_3}),
    }
    path = tmp_path / "odd.safetensors"
    save_file({k: v.detach().contiguous() for k, v in transformer.items()}, path, metadata=metadata)
    if stored in ("{", "[]"):
        with pytest.raises(ValueError, match="has a damaged metadata _quantization_metadata"):
            load_backbone(path, dtype=None)
    else:
        load_backbone(path, dtype=None)


PREFIXES = ("", "diffusion_model.", "model.", "transformer.", "_orig_mod.", "velocity_model.")
PREFIXES += ("module._orig_mod.", "base_model.model.dit.", "model.diffusion_model._orig_mod.")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("kind", FORMATS)
def test_packed_split_files_are_read_under_any_prefix(
    transformer: dict[str, Tensor], tmp_path: Path, kind: str, prefix: str
):
    whole = packed_file(tmp_path / "whole.safetensors", transformer, kind, tiny_ltx.LTX_2_3)
    split = {
        prefix + name.removeprefix(TRANSFORMER_PREFIX): value
        for name, value in load_file(whole).items()
    }
    path = tmp_path / "split.safetensors"
    save_file(split, path, metadata=dict(open_checkpoint(whole).metadata))
    got, expected = (
        load_backbone(each, dtype=torch.float32).state_dict() for each in (path, whole)
    )
    assert all(torch.equal(got[key], value) for key, value in expected.items())


def test_a_gguf_is_told_by_its_name(tmp_path: Path):
    (tmp_path / "ltx.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(64))
    with pytest.raises(ValueError, match=r"ltx\.gguf is a GGUF, .*take the one in bfloat16") as e:
        load_backbone(tmp_path / "ltx.gguf", dtype=None)
    assert_one_sentence(e.value)


def test_a_scale_for_each_row_is_read_however_it_is_shaped(
    transformer: dict[str, Tensor], tmp_path: Path
):
    name = f"{TRANSFORMERS_LAYER}.weight"
    results = []
    for i, shape in enumerate(((-1,), (-1, 1))):
        packed = pack(name, transformer[name], "int8", FORMATS["int8"])
        scale = f"{TRANSFORMERS_LAYER}.weight_scale"
        packed[scale] = packed[scale].reshape(shape)
        path = tmp_path / f"{i}.safetensors"
        tiny_ltx.write_checkpoint(path, transformer | packed, {"transformer": tiny_ltx.LTX_2_3})
        results.append(load_backbone(path, dtype=torch.float32).state_dict())
    one, other = results
    assert all(torch.equal(other[key], value) for key, value in one.items())


@pytest.mark.parametrize("how", ["fp8", "scaled fp8", "int8", "by its config"])
def test_a_gemma_3_in_8_bits_is_refused(tmp_path: Path, how: str):
    """transformers would read the numbers and leave the scales out, in silence."""
    folder = tiny_text_encoders.write_gemma(tmp_path / "gemma")
    connectors = tiny_text_encoders.build_connectors("2.3")
    ltx = tiny_text_encoders.write_connectors(tmp_path / "ltx.safetensors", "2.3", connectors)
    (file,) = folder.rglob("*.safetensors")
    if how == "by its config":
        config = file.parent / "config.json"
        settings = json.loads(config.read_text())
        settings["quantization_config"] = {"quant_method": "fbgemm_fp8"}
        config.write_text(json.dumps(settings))
    else:
        tensors = load_file(file)
        name = next(name for name in tensors if name.endswith("layers.0.mlp.up_proj.weight"))
        tensors[name] = tensors[name].to(torch.int8 if how == "int8" else F8)
        if how == "scaled fp8":
            tensors[name.replace(".weight", ".weight_scale")] = torch.ones(())
        save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"read without their scales; needs Gemma 3") as raised:
        load_gemma(folder, ltx, torch.device("cpu"), torch.float32)
    assert "take google/gemma-3-12b-it" in str(raised.value)
