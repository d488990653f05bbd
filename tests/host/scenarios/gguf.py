"""A quantized LTX-Video by ComfyUI-GGUF's own loader, run from its public repository."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any

import comfy.ops
import comfy.sd
import folder_paths
import nodes
import torch
from comfy.ldm.lightricks.model import LTXVModel
from comfy.model_patcher import ModelPatcher
from scenarios import world
from torch import Tensor

T, H, W = 3, 4, 4
NAME = "stdrc_tiny-Q8_0.gguf"


def _weights() -> dict[str, Tensor]:
    """Without settings beside it the host takes 32 heads and captions of 4096 channels."""
    transformer = LTXVModel(
        num_layers=2,
        num_attention_heads=32,
        attention_head_dim=4,
        cross_attention_dim=128,
        operations=comfy.ops.disable_weight_init,
    )
    generator = torch.Generator().manual_seed(5)
    return {
        key: torch.randn(value.shape, generator=generator) * (0.05 if value.ndim > 1 else 0.2)
        for key, value in transformer.state_dict().items()
    }


def _write(path: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As Q8_0 where rows are long enough; returns what gguf's own code reads from it."""
    import gguf

    writer = gguf.GGUFWriter(path, arch="ltxv")
    dequantized = {}
    for name, weight in weights.items():
        array = weight.numpy()
        if weight.ndim == 2 and name.startswith("transformer_blocks") and name.endswith(".weight"):
            kind = gguf.GGMLQuantizationType.Q8_0
            quantized = gguf.quants.quantize(array, kind)
            writer.add_tensor(name, quantized, raw_dtype=kind)
            # The nodes multiply scales and integers in float16.
            array = gguf.quants.dequantize(quantized, kind).astype("float16").astype("float32")
        else:
            writer.add_tensor(name, array)
        dequantized[name] = torch.from_numpy(array.copy())
    finish(writer)
    return dequantized


def has_package() -> bool:
    return importlib.util.find_spec("gguf") is not None


def finish(writer: Any) -> None:
    """Writes what a GGUFWriter was given, and closes its file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def load(folder: str, file_folder: str, name: str) -> ModelPatcher:
    """Loads a file as the node of ComfyUI-GGUF does, which lies in `folder`."""
    if "UnetLoaderGGUF" not in nodes.NODE_CLASS_MAPPINGS:
        assert asyncio.run(nodes.load_custom_node(folder)), "ComfyUI did not load ComfyUI-GGUF"
    for key in ("unet", "unet_gguf"):
        folder_paths.add_model_folder_path(key, file_folder)
    return nodes.NODE_CLASS_MAPPINGS["UnetLoaderGGUF"]().load_unet(name)[0]


def sample(folder: str, file_folder: str, placement: str) -> dict[str, Any]:
    """Our guider on the GGUF loader's model, and on float32 weights that gguf has read itself."""
    weights = _weights()
    dequantized = _write(f"{file_folder}/{NAME}", weights)
    models = {
        "gguf": load(folder, file_folder, NAME),
        "dequantized": comfy.sd.load_diffusion_model_state_dict(dequantized),
        "exact": comfy.sd.load_diffusion_model_state_dict(weights),
    }
    result: dict[str, Any] = {}
    for name, each in models.items():
        each = world.patched(each, placement=placement)
        result.setdefault("class", type(each).__name__)
        guider = world.three_streams(
            each,
            world.latent([1, 128, 1, H, W]),
            positive=world.text_conditioning(each, 1),
            negative=world.text_conditioning(each, 2),
        )
        result[name] = world.run_guider(guider, world.empty_video(T, H, W), steps=2)
    return result
