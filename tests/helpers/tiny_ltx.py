"""LTX-2 transformers of every version, tiny and random, as files in ComfyUI's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import LTX2VideoTransformer3DModel
from torch import Tensor

from stdrc_core.ltx.checkpoint import transformer_key, write_checkpoint
from stdrc_core.ltx.transformer_config import arguments_of

# As the metadata of LTX-2.0 names its settings: captions are projected inside, nothing is gated.
LTX_2_0 = {
    "_class_name": "AVTransformer3DModel",
    "num_layers": 2,
    "num_attention_heads": 4,
    "attention_head_dim": 24,
    "cross_attention_dim": 96,
    "caption_channels": 48,
    "audio_num_attention_heads": 4,
    "audio_attention_head_dim": 8,
    "audio_cross_attention_dim": 32,
    "connector_num_attention_heads": 4,
    "connector_attention_head_dim": 12,
    "connector_num_layers": 1,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "causal_temporal_positioning": True,
    "use_middle_indices_grid": True,
    "rope_type": "split",
    "frequencies_precision": "float64",
    "av_ca_timestep_scale_multiplier": 1000.0,
}
LTX_2_3 = LTX_2_0 | {
    "apply_gated_attention": True,
    "cross_attention_adaln": True,
    "caption_proj_before_connector": True,
    "caption_projection_first_linear": False,
}
LTX_2_5 = LTX_2_3 | {"ff_bias": False, "use_keyframes_abs_pos_embedding": True}
# No published model has it yet; diffusers has the switch.
LTX_2_5_STATIC_PROMPT = LTX_2_5 | {"use_prompt_adaln_single": False, "audio_ff_bias": False}

VERSIONS = {
    "2.0": LTX_2_0,
    "2.3": LTX_2_3,
    "2.5": LTX_2_5,
    "2.5 static prompt": LTX_2_5_STATIC_PROMPT,
}


def build_tiny(settings: dict[str, Any], seed: int = 0) -> LTX2VideoTransformer3DModel:
    """The undropped transformer; every parameter is random, those that diffusers sets to 0 too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = LTX2VideoTransformer3DModel(**arguments_of(settings, "the test"))
        for parameter in transformer.parameters():
            torch.nn.init.normal_(parameter, std=0.05 if parameter.ndim > 1 else 0.2)
    return transformer


def build_attentive(settings: dict[str, Any]) -> LTX2VideoTransformer3DModel:
    """As `build_tiny`, with scores so far apart that it matters where a token stands."""
    transformer = build_tiny(settings)
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if name.endswith(("norm_q.weight", "norm_k.weight")):
                parameter.mul_(10)
    return transformer


def file_tensors(transformer: LTX2VideoTransformer3DModel) -> dict[str, Tensor]:
    return {transformer_key(key): value for key, value in transformer.state_dict().items()}


def write_tiny(path: Path, settings: dict[str, Any], seed: int = 0) -> Path:
    return write_checkpoint(
        path, file_tensors(build_tiny(settings, seed)), {"transformer": settings}
    )


def random_inputs(context_dim: int, batch: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """video `[B, 128, 3, 3, 4]`, t `[B]`, context `[B, 8, D]`, reference `[1, 128, 1, 3, 4]`."""
    generator = torch.Generator().manual_seed(7)
    video = torch.randn(batch, 128, 3, 3, 4, generator=generator)
    context = torch.randn(batch, 8, context_dim, generator=generator)
    reference = torch.randn(1, 128, 1, 3, 4, generator=generator)
    return video, torch.linspace(0.3, 0.9, batch), context, reference
