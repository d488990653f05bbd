"""LTX-2.5's one-step diffusion decoder, which stands in the place of the VAE's convolutional one.

It is diffusers' `LTX2VideoDiffusionDecoderModel`, with an attention that needs no kernel from a hub
(neighborhood). It makes a clip's pixels out of noise in one step, led by the latent. The noise has
a fixed seed, as in ComfyUI, so that a latent always becomes the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from diffusers import LTX2VideoDiffusionDecoderModel
from torch import Tensor, nn

from .neighborhood import NeighborhoodAttention

# ComfyUI's name of a part of a key -> diffusers' name.
_NAMES = {
    "t_embedder.mlp.0.": "t_embedder.timestep_embedder.linear_1.",
    "t_embedder.mlp.2.": "t_embedder.timestep_embedder.linear_2.",
    ".attn.proj.": ".attn.to_out.0.",
    ".attn.q_norm.": ".attn.norm_q.",
    ".attn.k_norm.": ".attn.norm_k.",
}
# Gates that some files have apart: each is multiplied into the rows of a layer beside it.
_GATES = {
    "gate_msa": ("attn.proj.weight", "attn.proj.bias"),
    "gate_mlp": ("mlp.w_down.weight",),
    "gate_ctx": ("context_proj.weight", "context_proj.bias"),
}
# Previews that some files have and nobody reads.
_PREVIEW = "coarse_"
_SEED = 0


class DiffusionDecoder(nn.Module):
    """Decodes latents to pixels; it stands for the `decoder` of an `AutoencoderKLLTX2Video`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config` is the `vae` part of a file's config; what it leaves out is as published."""
        super().__init__()
        self.model = LTX2VideoDiffusionDecoderModel(**_arguments(config))
        # The VAE around it normalises.
        del self.model.latents_mean, self.model.latents_std
        # Large clips are decoded in overlapping tiles, so that memory does not grow with the clip.
        self.model.enable_tiling()
        for block in self.model.modules():
            if hasattr(block, "attn"):
                block.attn = NeighborhoodAttention.like(block.attn)

    def forward(self, latents: Tensor, temb: None = None, causal: None = None) -> Tensor:
        """Returns the pixels of latents `[B, C, T, H, W]` that are not normalised."""
        return torch.cat(
            [
                self.model.decode(each, generator=torch.Generator().manual_seed(_SEED)).sample
                for each in latents.split(1)
            ]
        )

    def load_file(self, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Takes the tensors of a file, whose names begin after `decoder.`.

        Raises ValueError where the file lacks some or has others than the config leads to.
        """
        stored = {name: value for name, value in tensors if _PREVIEW not in name}
        for name in [name for name in stored if name.rpartition(".")[2] in _GATES]:
            block, _, kind = name.rpartition(".")
            gate = stored.pop(name).float()
            for layer in _GATES[kind]:
                weight = stored[f"{block}.{layer}"]
                gated = gate.reshape(-1, *[1] * (weight.ndim - 1)) * weight.float()
                stored[f"{block}.{layer}"] = gated.to(weight.dtype)
        state = {}
        for name, value in stored.items():
            before, is_fused, kind = name.partition("qkv.")
            if is_fused:
                for part, each in zip("qkv", value.chunk(3), strict=True):
                    state[f"{before}to_{part}.{kind}"] = each.clone()
            else:
                state[_renamed(name)] = value
        expected = self.model.decoder.state_dict()
        wrong = [
            key for key in expected if key not in state or state[key].shape != expected[key].shape
        ]
        wrong += [key for key in state if key not in expected]
        if wrong:
            raise ValueError(
                f"its diffusion decoder has {len(wrong)} tensors that its config does not lead to, "
                f"or lacks them, the first {wrong[0]}; needs the file as it was published"
            )
        self.model.decoder.load_state_dict(state, assign=True)


def encoder_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config of a diffusion VAE's encoder in the form of a convolutional VAE's."""
    encoder = config.get("encoder", {})
    return {
        "encoder_blocks": encoder.get("blocks", _ENCODER_BLOCKS),
        "latent_channels": encoder.get("out_channels", 128),
        "in_channels": encoder.get("in_channels", 3),
        "patch_size": encoder.get("patch_size", 4),
        "encoder_base_channels": encoder.get("base_channels", 128),
        "spatial_padding_mode": encoder.get("spatial_padding_mode", "zeros"),
    }


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of diffusers' class for the `vae` part of a file's config."""
    decoder = config.get("decoder", {})
    names = {
        "out_channels": "out_channels",
        "in_channels": "latent_channels",
        "patch_size": "patch_size",
        "head_dim": "decoder_head_dim",
        "stage_channels": "decoder_stage_channels",
        "stage_depths": "decoder_stage_depths",
        "stage5_kernel": "decoder_stage5_kernel",
        "t_emb_dim": "decoder_t_emb_dim",
        "timestep_scale_multiplier": "decoder_timestep_scale_multiplier",
        "default_num_inference_steps": "decoder_num_inference_steps",
    }
    arguments = {ours: decoder[name] for name, ours in names.items() if name in decoder}
    if "upsamples" in decoder:
        strides, reductions = zip(*decoder["upsamples"], strict=True)
        arguments["decoder_upsample_strides"] = [tuple(stride) for stride in strides]
        arguments["decoder_upsample_channel_reductions"] = list(reductions)
    if "stage_kernels" in decoder:
        # The file lists the last stage's kernel here too.
        num_stages = len(decoder.get("stage_channels", range(5))) - 1
        kernels = decoder["stage_kernels"][:num_stages]
        arguments["decoder_stage_kernels"] = [tuple(kernel) for kernel in kernels]
    return arguments | {"decoder_model_output_type": config.get("model_output_type", "x0")}


def _renamed(name: str) -> str:
    for theirs, ours in _NAMES.items():
        name = name.replace(theirs, ours)
    return name


# The encoder as it is published, for a file whose metadata do not say it.
_ENCODER_BLOCKS = [
    ["res_x", {"num_layers": 4}],
    ["compress_space_res", {"multiplier": 2}],
    ["res_x", {"num_layers": 6}],
    ["compress_time_res", {"multiplier": 2}],
    ["res_x", {"num_layers": 4}],
    ["compress_all_res", {"multiplier": 2}],
    ["res_x", {"num_layers": 2}],
    ["compress_all_res", {"multiplier": 1}],
    ["res_x", {"num_layers": 2}],
]
