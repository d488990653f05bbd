"""A tiny random VAE with LTX-2.5's diffusion decoder, as a file in ComfyUI's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Video, LTX2VideoDiffusionDecoderModel
from safetensors.torch import save_file
from torch import Tensor

from stdrc_core.ltx.checkpoint import vae_key

ENCODER_BLOCKS = [
    ["res_x", {"num_layers": 1}],
    ["compress_space_res", {"multiplier": 1}],
    ["res_x", {"num_layers": 1}],
    ["compress_time_res", {"multiplier": 1}],
    ["res_x", {"num_layers": 1}],
    ["compress_all_res", {"multiplier": 1}],
    ["res_x", {"num_layers": 1}],
    ["compress_all_res", {"multiplier": 1}],
    ["res_x", {"num_layers": 1}],
]
CONFIG: dict[str, Any] = {
    "_class_name": "CausalDiffusionVAE",
    "dims": 3,
    "model_output_type": "x0",
    "encoder": {
        "dims": 3,
        "in_channels": 3,
        "out_channels": 128,
        "blocks": ENCODER_BLOCKS,
        "patch_size": 4,
        "latent_log_var": "constant",
        "norm_layer": "pixel_norm",
        # diffusers' class begins with as many channels as a latent has.
        "base_channels": 128,
        "spatial_padding_mode": "zeros",
    },
    "decoder": {
        "in_channels": 128,
        "out_channels": 3,
        "patch_size": 4,
        "head_dim": 8,
        "stage_channels": [64, 32, 16, 16, 8],
        "stage_depths": [1, 1, 1, 1, 2],
        "stage_kernels": [[3, 7, 7], [3, 7, 7], [3, 5, 5], [3, 5, 5], [11, 11, 11]],
        "upsamples": [[[1, 2, 2], 2], [[2, 1, 1], 2], [[2, 2, 2], 1], [[2, 2, 2], 2]],
        "stage5_kernel": [11, 11, 11],
        "t_emb_dim": 32,
        "timestep_scale_multiplier": 1000.0,
        "default_num_inference_steps": 1,
    },
}


# Windows that are no larger than the grid of a small clip.
SMALL = CONFIG | {
    "decoder": CONFIG["decoder"] | {"stage_kernels": [[3, 3, 3]] * 5, "stage5_kernel": [3, 5, 5]}
}


def build(
    config: dict[str, Any] = CONFIG,
) -> tuple[AutoencoderKLLTX2Video, LTX2VideoDiffusionDecoderModel]:
    """diffusers' own: the VAE whose encoder counts, and the decoder; every number random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        vae = AutoencoderKLLTX2Video(
            block_out_channels=(128, 128, 128, 128),
            down_block_types=("LTX2VideoDownBlock3D",) * 4,
            layers_per_block=(1,) * 5,
            spatio_temporal_scaling=(True,) * 4,
            downsample_type=("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
            encoder_spatial_padding_mode="zeros",
        )
        decoder = LTX2VideoDiffusionDecoderModel(
            decoder_head_dim=8,
            decoder_stage_channels=(64, 32, 16, 16, 8),
            decoder_stage_depths=(1, 1, 1, 1, 2),
            decoder_t_emb_dim=32,
            decoder_stage_kernels=config["decoder"]["stage_kernels"][:4],
            decoder_stage5_kernel=config["decoder"]["stage5_kernel"],
        )
        for module in (vae.encoder, decoder.decoder):
            for parameter in module.parameters():
                torch.nn.init.normal_(parameter, std=_std(parameter))
        vae.latents_mean.copy_(torch.randn(128) / 4)
        vae.latents_std.copy_(torch.rand(128) + 0.5)
    return vae.eval(), decoder.eval()


def _std(parameter: Tensor) -> float:
    """A layer of many inputs gets small weights, so that values neither grow nor vanish."""
    num_inputs = parameter[0].numel() if parameter.ndim > 1 else 0
    return 1.5 / num_inputs**0.5 if num_inputs else 0.3


def file_tensors(
    vae: AutoencoderKLLTX2Video, decoder: LTX2VideoDiffusionDecoderModel
) -> dict[str, Tensor]:
    """Under the names of ComfyUI's file of the VAE alone: q, k and v are one layer there."""
    tensors = {
        vae_key(key, len(vae.encoder.down_blocks)).removeprefix("vae."): value
        for key, value in vae.state_dict().items()
        if not key.startswith("decoder.")
    }
    own = decoder.decoder.state_dict()
    for key, value in own.items():
        if ".to_k." in key or ".to_v." in key:
            continue
        if ".to_q." in key:
            value = torch.cat([own[key.replace("to_q", f"to_{part}")] for part in "qkv"])
        name = (
            key.replace("timestep_embedder.linear_1", "mlp.0")
            .replace("timestep_embedder.linear_2", "mlp.2")
            .replace("to_q", "qkv")
            .replace("to_out.0", "proj")
            .replace("norm_q", "q_norm")
            .replace("norm_k", "k_norm")
        )
        tensors[f"decoder.{name}"] = value
    return {name: value.detach().clone() for name, value in tensors.items()}


def write(path: Path, tensors: dict[str, Tensor], config: dict[str, Any] | None = CONFIG) -> Path:
    metadata = {} if config is None else {"config": json.dumps({"vae": config})}
    save_file(tensors, path, metadata=metadata)
    return path
