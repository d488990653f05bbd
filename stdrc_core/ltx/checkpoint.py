"""LTX-2.3 single files in ComfyUI's layout: the key names, and how a file is written.

A single file holds the transformer under `model.diffusion_model.`, the video VAE under `vae.` and,
in its safetensors metadata, `config` = JSON `{transformer: {...}, vae: {...}}`, which is what a
loader sizes the model by.

The names run from diffusers' to the file's, for reading too (checkpoint_files): a module lists its
own keys and each is looked up under the file's name, so the way back is the same table, and a name
in the file that no key leads to stands out as unknown.
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

# diffusers' name of a module or parameter -> the single file's, per dotted component of the key.
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
    """A key of diffusers' `LTX2VideoTransformer3DModel`, as the single file names it."""
    parts = [_TRANSFORMER_NAMES.get(part, part) for part in key.split(".")]
    return TRANSFORMER_PREFIX + ".".join(parts)


def connector_key(key: str, modality: str) -> str:
    """A key of diffusers' `LTX2ConnectorTransformer1d` for `modality` video or audio."""
    key = key.replace("transformer_blocks.", "transformer_1d_blocks.")
    return transformer_key(f"{modality}_embeddings_connector.{key}")


def vae_key(key: str, num_encoder_blocks: int) -> str:
    """A key of diffusers' `AutoencoderKLLTX2Video`, as the single file names it.

    The file numbers blocks and samplers in one sequence: encoder block i is 2i and its downsampler
    2i + 1, the decoder's middle block is 0, an upsampler 2i + 1 and its block 2i + 2.
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
    """Writes a single file with `config` in its metadata; returns its path."""
    return write_tensors(path, tensors, {"config": json.dumps(config)})


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Path:
    """Writes a safetensors file, whole or not at all; returns its path.

    Raises OSError, in one sentence, where it cannot be written.
    """
    contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
    remedy = "make room or take another place, and write it again"
    with failures_told(f"weights {path}", remedy), written_aside(path) as partial:
        save_file(contiguous, partial, metadata=dict(metadata))
    return Path(path)
