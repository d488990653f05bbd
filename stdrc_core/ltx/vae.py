"""The frozen video VAE of LTX-2, from pixels to normalised latents and back, equal to ComfyUI's.

It is diffusers' `AutoencoderKLLTX2Video`, built from the `config` in a single file's metadata and
filled with the file's tensors; nothing is asked from a hub. A file of the VAE alone, whose keys do
not begin with `vae.`, is read as well.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Video
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..method.grid import LTX_SCALE_FACTORS
from ..method.reference import fit_reference
from .checkpoint import VAE_PREFIX, vae_key

# The most pixels that go through the VAE at once, unless one clip alone has more: 8 photos of
# 512 x 512.
_PIXELS_TOGETHER = 2**21

# The file's name of a downsampler or upsampler -> diffusers' name.
_DOWNSAMPLERS = {
    "compress_space_res": "spatial",
    "compress_time_res": "temporal",
    "compress_all_res": "spatiotemporal",
}
_UPSAMPLERS = {
    "compress_space": "spatial",
    "compress_time": "temporal",
    "compress_all": "spatiotemporal",
}


class VideoVAE(nn.Module):
    """Encodes clips to normalised latents and decodes them; its weights are frozen.

    Small clips go through together and large ones one at a time, so that memory does not grow with
    the batch. Gradients flow through `decode` to the latents, which the identity losses need.
    """

    def __init__(self, vae: AutoencoderKLLTX2Video) -> None:
        """Takes over `vae`, sets it to evaluation mode and freezes its weights."""
        super().__init__()
        self.vae = vae.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> VideoVAE:
        """Leaves the VAE in evaluation mode, whatever the module around it does."""
        return super().train(False)

    @property
    def latent_channels(self) -> int:
        """The number of channels C of the latents."""
        return self.vae.config.latent_channels

    def enable_gradient_checkpointing(self) -> None:
        """Makes the backward pass recompute the decoder's layers, which takes less memory.

        The numbers stay the same.
        """
        self.vae.enable_gradient_checkpointing()
        # Only the layers are checkpointed, not the blocks around them too: with both, each layer
        # would be computed three times.
        self.vae.decoder.gradient_checkpointing = False

    def encode(self, pixels: Tensor) -> Tensor:
        """Returns the latents `[B, C, T, H/32, W/32]`, float32, of pixels `[B, 3, F, H, W]`.

        The pixels are in [-1, 1], and F = 8 (T - 1) + 1. A latent is the mean of the posterior,
        normalised per channel as in ComfyUI: (z - mean) / std. Raises ValueError for a size that
        the VAE cannot take.
        """
        _check_pixels(pixels)
        parameters = self.vae.encoder.conv_in.conv.weight
        latents = [
            self.vae.encode(clip.to(parameters)).latent_dist.mode().float()
            for clip in pixels.split(_num_together(pixels.shape[2:]))
        ]
        mean, std = self._statistics(pixels.device)
        return (torch.cat(latents).to(pixels.device) - mean) / std

    def encode_photos(
        self, photos: Sequence[Tensor], height: int, width: int, device: torch.device
    ) -> Tensor:
        """Returns z_ref of B photos (Eq. 1): `[B, C, 1, height/32, width/32]`, on `device`.

        The photos are `[1, h, w, 3 or 4]` in [0, 1] and may differ in size. Each is fitted into a
        frame of `height` x `width` pixels (`fit_reference`).
        """
        frames = torch.cat([fit_reference(photo, height, width) for photo in photos]).to(device)
        return self.encode_fitted(frames)

    def encode_fitted(self, frames: Tensor) -> Tensor:
        """Returns z_ref `[B, C, 1, h/32, w/32]` of fitted photos `[B, h, w, 3]` in [0, 1]."""
        return self.encode(frames.movedim(-1, 1)[:, :, None] * 2 - 1)

    def decode(self, latents: Tensor) -> Tensor:
        """Returns the pixels `[B, 3, 8 (T - 1) + 1, 32 H, 32 W]` of latents `[B, C, T, H, W]`.

        They are float32, or float64 where the latents are. They lie in about [-1, 1] and are not
        clamped, because clamping would cut gradients.
        """
        parameters = self.vae.decoder.conv_in.conv.weight
        mean, std = self._statistics(latents.device)
        dtype = torch.promote_types(latents.dtype, torch.float32)
        num_frames, height, width = latents.shape[2:]
        scale = LTX_SCALE_FACTORS
        size = ((num_frames - 1) * scale.time + 1, height * scale.height, width * scale.width)
        clips = (latents.to(dtype) * std + mean).split(_num_together(size))
        return torch.cat([self.vae.decode(clip.to(parameters)).sample.to(dtype) for clip in clips])

    def _statistics(self, device: torch.device) -> tuple[Tensor, Tensor]:
        shape = (1, -1, 1, 1, 1)
        mean, std = self.vae.latents_mean, self.vae.latents_std
        return mean.float().to(device).view(shape), std.float().to(device).view(shape)


def _num_together(size: Sequence[int]) -> int:
    """Returns how many clips of `size` (frames, height, width), in pixels, go through at once."""
    return max(1, _PIXELS_TOGETHER // math.prod(size))


def load_vae(path: str | Path, dtype: torch.dtype = torch.float32) -> VideoVAE:
    """Loads the video VAE of an LTX-2 single file, or of a file of the VAE alone.

    Raises ValueError for a file that is missing or cannot be read, that holds no VAE, or that
    describes one of another make.
    """
    if not Path(path).is_file():
        raise ValueError(f"checkpoint {path} is not a file; needs an LTX-2 single file: check it.")
    try:
        with safe_open(path, framework="pt") as file:
            config = _vae_config(path, file.metadata())
            with torch.device("meta"):
                vae = AutoencoderKLLTX2Video(**diffusers_config(config))
            names = _file_names(path, vae, set(file.keys()))
            state = {key: file.get_tensor(name).to(dtype) for key, name in names.items()}
    except SafetensorError as error:
        raise ValueError(
            f"checkpoint {path} could not be read ({error}); needs a whole safetensors file: "
            "download it again."
        ) from error
    _check_shapes(path, vae, state)
    vae.load_state_dict(state, strict=True, assign=True)
    return VideoVAE(vae)


def diffusers_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `AutoencoderKLLTX2Video` for the `vae` part of a file's `config`.

    The file lists blocks and samplers by turns, and those of the decoder from the last to the
    first. Raises ValueError for a VAE of another make.
    """
    kind = config.get("_class_name", "CausalVideoAutoencoder")
    if kind != "CausalVideoAutoencoder" or config.get("timestep_conditioning"):
        raise ValueError(
            f"the checkpoint's VAE was a {kind} with timestep_conditioning "
            f"{bool(config.get('timestep_conditioning'))}; needs a CausalVideoAutoencoder without: "
            "use an LTX-2.0 or LTX-2.3 file."
        )
    encoder_layers, down = _blocks(config, "encoder_blocks", _DOWNSAMPLERS)
    decoder_layers, up = _blocks(config, "decoder_blocks", _UPSAMPLERS)
    channels, encoder_channels = config.get("encoder_base_channels", 128), []
    for _, options in down:
        channels *= options.get("multiplier", 2)
        encoder_channels.append(channels)
    channels, decoder_channels = config.get("decoder_base_channels", 128), []
    for _, options in up:
        channels *= options.get("multiplier", 1)
        decoder_channels.append(channels)
    padding = config.get("spatial_padding_mode")
    return {
        "in_channels": config.get("in_channels", 3),
        "out_channels": config.get("out_channels", 3),
        "latent_channels": config["latent_channels"],
        "block_out_channels": tuple(encoder_channels),
        "down_block_types": ("LTX2VideoDownBlock3D",) * len(down),
        "layers_per_block": encoder_layers,
        "spatio_temporal_scaling": (True,) * len(down),
        "downsample_type": tuple(name for name, _ in down),
        "decoder_block_out_channels": tuple(decoder_channels),
        "decoder_layers_per_block": decoder_layers,
        "decoder_spatio_temporal_scaling": (True,) * len(up),
        "decoder_inject_noise": (False,) * len(decoder_layers),
        # diffusers turns the other decoder lists round itself, but not this one.
        "upsample_type": tuple(name for name, _ in reversed(up)),
        "upsample_residual": tuple(
            bool(options.get("residual")) and name == "spatiotemporal" for name, options in up
        ),
        "upsample_factor": tuple(options.get("multiplier", 1) for _, options in up),
        "patch_size": config.get("patch_size", 1),
        "encoder_causal": True,
        "decoder_causal": config.get("causal_decoder", False),
        "encoder_spatial_padding_mode": padding or "zeros",
        "decoder_spatial_padding_mode": padding or "reflect",
        "spatial_compression_ratio": LTX_SCALE_FACTORS.height,
        "temporal_compression_ratio": LTX_SCALE_FACTORS.time,
    }


def _blocks(
    config: Mapping[str, Any], name: str, samplers: Mapping[str, str]
) -> tuple[tuple[int, ...], list[tuple[str, Mapping[str, Any]]]]:
    """Returns the number of layers of each block, and the samplers between the blocks.

    A sampler is its name in diffusers and its options in the file.
    """
    blocks = [(kind, options if isinstance(options, dict) else {"num_layers": options})
              for kind, options in config.get(name, ())]  # fmt: skip
    kinds = [kind for kind, _ in blocks]
    inject_noise = any(options.get("inject_noise") for _, options in blocks)
    by_turns = len(kinds) % 2 == 1 and all(
        kind in samplers if i % 2 else kind == "res_x" for i, kind in enumerate(kinds)
    )
    if not by_turns or inject_noise:
        raise ValueError(
            f"{name} of the checkpoint's VAE were {kinds}{' with noise' * inject_noise}; needs "
            f"res_x and {', '.join(samplers)} by turns: use an LTX-2.0 or LTX-2.3 file."
        )
    layers = tuple(options["num_layers"] for _, options in blocks[::2])
    return layers, [(samplers[kind], options) for kind, options in blocks[1::2]]


def _vae_config(path: str | Path, metadata: Mapping[str, str] | None) -> Mapping[str, Any]:
    try:
        return json.loads((metadata or {})["config"])["vae"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"checkpoint {path} has no VAE config in its metadata; needs an LTX-2 single file with "
            "its VAE: use the file as it was published."
        ) from error


def _file_names(path: str | Path, vae: AutoencoderKLLTX2Video, present: set[str]) -> dict[str, str]:
    """Returns the file's name for every key of `vae`."""
    num_encoder_blocks = len(vae.encoder.down_blocks)
    names = {key: vae_key(key, num_encoder_blocks) for key in vae.state_dict()}
    if not any(name.startswith(VAE_PREFIX) for name in present):
        names = {key: name.removeprefix(VAE_PREFIX) for key, name in names.items()}
    missing = [name for name in names.values() if name not in present]
    if missing:
        raise ValueError(
            f"checkpoint {path} lacks {len(missing)} of the VAE's {len(names)} tensors, the first "
            f"{missing[0]}; needs an LTX-2 single file with its VAE: use the published file."
        )
    return names


def _check_shapes(
    path: str | Path, vae: AutoencoderKLLTX2Video, state: Mapping[str, Tensor]
) -> None:
    for key, expected in vae.state_dict().items():
        if state[key].shape != expected.shape:
            raise ValueError(
                f"checkpoint {path} has a VAE tensor {key} of shape {list(state[key].shape)}; its "
                f"own config needs {list(expected.shape)}: use the published file."
            )


def _check_pixels(pixels: Tensor) -> None:
    scale = LTX_SCALE_FACTORS
    shape = list(pixels.shape)
    if pixels.ndim != 5 or shape[1] != 3:
        raise ValueError(f"pixels had shape {shape}; needs [B, 3, F, H, W]: move RGB to axis 1.")
    if shape[2] % scale.time != 1 or shape[3] % scale.height or shape[4] % scale.width:
        raise ValueError(
            f"pixels were {shape[2]} frames of {shape[3]} x {shape[4]}; needs 8n + 1 frames and "
            "sides that are multiples of 32: cut and crop the clip."
        )
