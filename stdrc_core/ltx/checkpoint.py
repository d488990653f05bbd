"""LTX-2 single files in ComfyUI's layout: the names of their tensors, and how a file is written.

A single file holds the transformer under `model.diffusion_model.` and the video VAE under `vae.`.
Its safetensors metadata hold `config`, the JSON `{transformer: {...}, vae: {...}}` that tells a
loader the model's sizes.

The functions here turn diffusers' name of a tensor into the file's name, and never the other way.
Reading needs no more (checkpoint_files): a module lists its own keys, and each is looked up by the
file's name. A name in the file to which no key leads is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ..files import failures_told, written_aside

TRANSFORMER_PREFIX = "model.diffusion_model."
VAE_PREFIX = "vae."
# The projections of the text encoder's hidden states, which belong to no module's prefix.
TEXT_PREFIX = "text_embedding_projection."

# diffusers' name of a module or parameter -> the single file's name; applied to each part of a key
# between its dots.
_TRANSFORMER_NAMES = {
    "proj_in": "patchify_proj",
    "audio_proj_in": "audio_patchify_proj",
    "time_embed": "adaln_single",
    "audio_time_embed": "audio_adaln_single",
    "prompt_adaln": "prompt_adaln_single",
    "audio_prompt_adaln": "audio_prompt_adaln_single",
    "av_cross_attn_video_scale_shift": "av_ca_video_scale_shift_adaln_single",
    "av_cross_attn_video_a2v_gate": "av_ca_a2v_gate_adaln_single",
    "av_cross_attn_audio_scale_shift": "av_ca_audio_scale_shift_adaln_single",
    "av_cross_attn_audio_v2a_gate": "av_ca_v2a_gate_adaln_single",
    "video_a2v_cross_attn_scale_shift_table": "scale_shift_table_a2v_ca_video",
    "audio_a2v_cross_attn_scale_shift_table": "scale_shift_table_a2v_ca_audio",
    "norm_q": "q_norm",
    "norm_k": "k_norm",
}


def transformer_key(key: str) -> str:
    """Returns the single file's name for a key of diffusers' `LTX2VideoTransformer3DModel`."""
    parts = [_TRANSFORMER_NAMES.get(part, part) for part in key.split(".")]
    return TRANSFORMER_PREFIX + ".".join(parts)


def connector_key(key: str, modality: str) -> str:
    """Returns the single file's name for a key of diffusers' `LTX2ConnectorTransformer1d`.

    `modality` is "video" or "audio".
    """
    key = key.replace("transformer_blocks.", "transformer_1d_blocks.")
    return transformer_key(f"{modality}_embeddings_connector.{key}")


def vae_key(key: str, num_encoder_blocks: int) -> str:
    """Returns the single file's name for a key of diffusers' `AutoencoderKLLTX2Video`.

    diffusers numbers blocks alone; the file numbers blocks and samplers in one sequence. In the
    encoder, block i is number 2i and its downsampler 2i + 1. In the decoder, the middle block is
    number 0, the upsampler of block i is 2i + 1 and block i is 2i + 2.
    """
    part, _, rest = key.partition(".")
    if part in ("latents_mean", "latents_std"):
        statistic = {"latents_mean": "mean-of-means", "latents_std": "std-of-means"}[part]
        return f"{VAE_PREFIX}per_channel_statistics.{statistic}"
    names = rest.replace("resnets", "res_blocks").split(".")
    if names[0] == "mid_block":
        blocks = f"down_blocks.{2 * num_encoder_blocks}" if part == "encoder" else "up_blocks.0"
        names = [blocks, *names[1:]]
    elif names[0] in ("down_blocks", "up_blocks"):
        is_sampler = names[2] in ("downsamplers", "upsamplers")
        index = 2 * int(names[1]) + (part == "decoder") + (is_sampler == (part == "encoder"))
        names = [names[0], str(index), *names[4 if is_sampler else 2 :]]
    return f"{VAE_PREFIX}{part}." + ".".join(names)


def write_checkpoint(
    path: str | Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> Path:
    """Writes a single file with `config` in its metadata, and returns its path.

    Raises OSError as `write_tensors` does.
    """
    return write_tensors(path, tensors, {"config": json.dumps(config)})


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Path:
    """Writes a safetensors file, whole or not at all, and returns its path.

    Raises OSError, with one sentence for the user, where it cannot be written.
    """
    contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
    remedy = "make room or take another place, and write it again"
    with failures_told(f"weights {path}", remedy), written_aside(path) as partial:
        save_file(contiguous, partial, metadata=dict(metadata))
    return Path(path)
