"""Random weights of the miniature LTX-2.3, as diffusers initialises them, under LTX's names.

They are not trained, so that what they generate is noise; they show that the code works.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel
from diffusers.pipelines.ltx2.connectors import LTX2ConnectorTransformer1d
from torch import Tensor, nn

from ..ltx.checkpoint import connector_key, transformer_key, vae_key, write_checkpoint
from ..mini import config


def build_transformer() -> LTX2VideoTransformer3DModel:
    """The miniature's transformer with random weights."""
    return LTX2VideoTransformer3DModel(
        num_layers=config.NUM_LAYERS,
        num_attention_heads=config.NUM_HEADS,
        attention_head_dim=config.HEAD_DIM,
        cross_attention_dim=config.VIDEO_DIM,
        audio_num_attention_heads=config.NUM_HEADS,
        audio_attention_head_dim=config.AUDIO_HEAD_DIM,
        audio_cross_attention_dim=config.AUDIO_DIM,
        gated_attn=True,
        audio_gated_attn=True,
        cross_attn_mod=True,
        audio_cross_attn_mod=True,
        use_prompt_embeddings=False,
        rope_type="split",
        # This is ComfyUI's av_ca_timestep_scale_multiplier; diffusers' default, 1000, is LTX-2.0's.
        cross_attn_timestep_scale_multiplier=1,
    )


def build_connector(head_dim: int) -> LTX2ConnectorTransformer1d:
    """The miniature's text connector, of the video's or of the audio's `head_dim`, with random
    weights."""
    return LTX2ConnectorTransformer1d(
        num_attention_heads=config.NUM_HEADS,
        attention_head_dim=head_dim,
        num_layers=config.NUM_CONNECTOR_LAYERS,
        rope_type="split",
        gated_attention=True,
    )


def build_vae() -> AutoencoderKLLTX2Video:
    """The miniature's video VAE with random weights."""
    return AutoencoderKLLTX2Video(
        latent_channels=128,
        block_out_channels=(config.ENCODER_CHANNELS,) * 4,
        layers_per_block=config.ENCODER_LAYERS,
        downsample_type=tuple(config.DOWNSAMPLERS[name] for name in config.ENCODER_ORDER),
        decoder_block_out_channels=config.DECODER_CHANNELS,
        decoder_layers_per_block=config.DECODER_LAYERS,
        upsample_factor=config.UPSAMPLE_FACTORS,
        decoder_causal=False,
        decoder_spatial_padding_mode="zeros",
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )


def random_tensors(seed: int) -> dict[str, Tensor]:
    """All tensors of the miniature in bfloat16, under the names of LTX's single file."""
    # diffusers' modules draw from the global generator, which is given back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = build_transformer()
        connectors = {
            "video": build_connector(config.HEAD_DIM),
            "audio": build_connector(config.AUDIO_HEAD_DIM),
        }
        vae = build_vae()
    tensors = _renamed(transformer, transformer_key)
    for modality, connector in connectors.items():
        tensors |= _renamed(connector, lambda key, m=modality: connector_key(key, m))
    return tensors | _renamed(vae, lambda key: vae_key(key, len(config.ENCODER_LAYERS) - 1))


def write_miniature(path: str | Path, seed: int = 0) -> Path:
    """Writes the miniature with random weights as one file; the same seed gives the same file."""
    metadata = {"transformer": config.TRANSFORMER_CONFIG, "vae": config.VAE_CONFIG}
    return write_checkpoint(path, random_tensors(seed), metadata)


def _renamed(module: nn.Module, rename) -> dict[str, Tensor]:
    return {rename(key): tensor.bfloat16() for key, tensor in module.state_dict().items()}
