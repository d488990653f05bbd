"""The files of published models without their weights: names, shapes, dtypes and metadata."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLLTX2Video,
    LTX2VideoDiffusionDecoderModel,
    LTX2VideoTransformer3DModel,
)
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from torch import Tensor

from helpers import tiny_diffusion_vae, tiny_ltx, tiny_text_encoders
from stdrc_core.ltx import gemma4
from stdrc_core.ltx.checkpoint import TEXT_PREFIX, vae_key
from stdrc_core.ltx.published import PUBLISHED
from stdrc_core.ltx.transformer_config import arguments_of
from stdrc_core.ltx.vae import diffusers_config

GEMMA_WIDTH, GEMMA_LAYERS = 3840, 48
NUM_LAYERS = 48
_SIZE = re.compile(r"num_|_dim$|channels$")
_CONNECTORS = {
    "connector_num_attention_heads": 32,
    "connector_attention_head_dim": 128,
    "audio_connector_num_attention_heads": 32,
    "audio_connector_attention_head_dim": 64,
    "connector_num_layers": 8,
    "connector_apply_gated_attention": True,
}


def settings_of(version: str, num_layers: int = NUM_LAYERS) -> dict[str, Any]:
    """The transformer's settings in the metadata; the sizes that a file leaves out are the
    published ones."""
    tiny = tiny_ltx.VERSIONS[version]
    settings = {name: value for name, value in tiny.items() if not _SIZE.search(name)}
    return settings | _CONNECTORS | {"num_layers": num_layers}


class PublishedFile:
    """A single file as `safetensors.safe_open` opens it; its tensors have no numbers of their own
    (they are made as the mode of the moment makes them)."""

    def __init__(self, tensors: dict[str, Tensor], config: dict[str, Any] | None = None) -> None:
        self._tensors = tensors
        self._metadata = {"config": json.dumps(config)} if config else {}

    def __enter__(self) -> PublishedFile:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def keys(self) -> list[str]:
        return [*self._tensors]

    def metadata(self) -> dict[str, str]:
        return self._metadata

    def get_slice(self, name: str) -> PublishedSlice:
        return PublishedSlice(self._tensors[name])

    def get_tensor(self, name: str) -> Tensor:
        """On the CPU, in bfloat16."""
        return torch.empty(self._tensors[name].shape, dtype=torch.bfloat16)


class PublishedSlice:
    """What is known of a tensor before it is read."""

    def __init__(self, tensor: Tensor) -> None:
        self._shape = tensor.shape

    def get_shape(self) -> list[int]:
        return [*self._shape]

    def get_dtype(self) -> str:
        return "BF16"


def ltx(version: str, num_layers: int = NUM_LAYERS) -> PublishedFile:
    """Transformer, connectors with their projections, and VAE; LTX-2.5 has the transformer and the
    connectors alone."""
    settings = settings_of(version, num_layers)
    with torch.device("meta"):
        transformer = LTX2VideoTransformer3DModel(**arguments_of(settings, "the test"))
    tensors = tiny_ltx.file_tensors(transformer)
    if version == "2.5":
        own = {k: v for k, v in _connectors().items() if not k.startswith(TEXT_PREFIX)}
        return PublishedFile(tensors | own, {"transformer": settings})
    vae = {f"vae.{name}": value for name, value in _vae().items()}
    return PublishedFile(
        tensors | _connectors() | vae, {"transformer": settings, "vae": PUBLISHED["2.3"].vae}
    )


def conv_vae() -> PublishedFile:
    """LTX-2.5's VAE with the convolutional decoder, whose sizes are those of LTX-2.3's."""
    return PublishedFile(_vae(), {"vae": PUBLISHED["2.3"].vae})


def diffusion_vae() -> PublishedFile:
    """LTX-2.5's VAE with the diffusion decoder; what its metadata leave out is as published."""
    with torch.device("meta"):
        vae = AutoencoderKLLTX2Video(**diffusers_config(PUBLISHED["2.3"].vae))
        decoder = LTX2VideoDiffusionDecoderModel()
        tensors = tiny_diffusion_vae.file_tensors(vae, decoder)
    return PublishedFile(tensors, {"vae": {"_class_name": "CausalDiffusionVAE"}})


def gemma_4() -> PublishedFile:
    """LTX-2.5's text encoder with its projections; its metadata leave its sizes out."""
    from transformers import Gemma4UnifiedConfig, Gemma4UnifiedTextModel

    settings = gemma4._parse(Path("gemma4"), None)
    with torch.device("meta"):
        model = Gemma4UnifiedTextModel(Gemma4UnifiedConfig.from_dict(settings).text_config)
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    projections = {k: v for k, v in _connectors().items() if k.startswith(TEXT_PREFIX)}
    return PublishedFile(tensors | projections)


def _connectors() -> dict[str, Tensor]:
    with torch.device("meta"):
        connectors = LTX2TextConnectors(
            caption_channels=GEMMA_WIDTH,
            text_proj_in_factor=GEMMA_LAYERS + 1,
            video_connector_num_attention_heads=32,
            video_connector_num_layers=8,
            video_gated_attn=True,
            audio_connector_num_attention_heads=32,
            audio_connector_attention_head_dim=64,
            audio_connector_num_layers=8,
            audio_gated_attn=True,
            rope_type="split",
            per_modality_projections=True,
            proj_bias=True,
        )
    return tiny_text_encoders.file_tensors(connectors)


def _vae() -> dict[str, Tensor]:
    """Under the names of a file of the VAE alone."""
    with torch.device("meta"):
        vae = AutoencoderKLLTX2Video(**diffusers_config(PUBLISHED["2.3"].vae))
    num_blocks = len(vae.encoder.down_blocks)
    state = vae.state_dict()
    return {vae_key(key, num_blocks).removeprefix("vae."): state[key] for key in state}


def lora(num_layers: int, rank: int = 32, width: int = 4096) -> PublishedFile:
    """A LoRA on the attention of all blocks of the video branch."""
    tensors = {}
    for block in range(num_layers):
        for attention in ("attn1", "attn2"):
            name = f"diffusion_model.transformer_blocks.{block}.{attention}.to_q"
            tensors[f"{name}.lora_A.weight"] = torch.empty(rank, width, device="meta")
            tensors[f"{name}.lora_B.weight"] = torch.empty(width, rank, device="meta")
    return PublishedFile(tensors)
