"""The frozen video VAE of LTX-2, from pixels to normalised latents and back, equal to ComfyUI's.

It is diffusers' `AutoencoderKLLTX2Video`, built from the `config` in a single file's metadata and
filled with the file's tensors; nothing is asked from a hub. A file of the VAE alone, whose keys do
not begin with `vae.`, and a diffusers folder are read as well. LTX-2.5's VAE has a convolutional
decoder, or in another file a one-step diffusion decoder (diffusion_decoder); their encoder is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Video
from torch import Tensor, nn

from ..method.grid import LTX_SCALE_FACTORS
from ..method.reference import fit_reference
from .checkpoint import VAE_PREFIX, vae_key
from .checkpoint_files import Checkpoint, open_checkpoint
from .diffusion_decoder import DiffusionDecoder, encoder_config
from .file_versions import CONV_VAE_2_5, decodes_by_diffusion
from .vae_config import diffusers_config, encoder_arguments

# The most pixels that go through the VAE at once, unless one clip alone has more: 8 photos of
# 512 x 512.
_PIXELS_TOGETHER = 2**21
# The encoder's first layer, which single files and diffusers folders name alike.
_FIRST_LAYER = "encoder.conv_in.conv.weight"


class VideoVAE(nn.Module):
    """Encodes clips to normalised latents and decodes them; its weights are frozen.

    Small clips go through together and large ones one at a time, so that memory does not grow with
    the batch. Gradients flow through `decode` to the latents, which the identity losses need; a
    diffusion decoder is for `decode` without gradients.
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

    @property
    def decodes_by_diffusion(self) -> bool:
        """Whether the decoder is LTX-2.5's one-step diffusion model."""
        return isinstance(self.vae.decoder, DiffusionDecoder)

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
        parameters = next(self.vae.decoder.parameters())
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
    """Loads the video VAE of an LTX-2 single file, of a file of the VAE alone, or of a diffusers
    folder.

    Raises ValueError for a path where nothing is or that cannot be read, that holds no VAE, or that
    describes one of another make.
    """
    checkpoint = _open(path)
    if decodes_by_diffusion(checkpoint):
        return VideoVAE(_with_diffusion_decoder(checkpoint, dtype))
    with torch.device("meta"):
        vae = AutoencoderKLLTX2Video(**_arguments(checkpoint))
    vae.load_state_dict(_read(checkpoint, vae, dtype), strict=True, assign=True)
    return VideoVAE(vae)


def require_vae(path: str | Path) -> None:
    """Raises ValueError as `load_vae` does where a file or folder has no video VAE.

    It reads the header alone, so that it can be asked before larger files are loaded.
    """
    checkpoint = _open(path)
    if not decodes_by_diffusion(checkpoint):
        _arguments(checkpoint)
        _require_encoder(checkpoint)


def _open(path: str | Path) -> Checkpoint:
    path = Path(path)
    if not path.exists():
        raise ValueError(
            f"checkpoint {path} is not a file; needs an LTX-2 file with its video VAE: check it."
        )
    checkpoint = open_checkpoint(path, "vae")
    checkpoint.require_readable(_vae_names(checkpoint), "the VAE's bfloat16 file")
    return checkpoint


def _require_encoder(checkpoint: Checkpoint) -> None:
    """Raises ValueError for a file whose metadata describe a VAE that is not in it."""
    if not {_FIRST_LAYER, VAE_PREFIX + _FIRST_LAYER}.isdisjoint(checkpoint.tensors):
        return
    raise ValueError(
        f"checkpoint {checkpoint.path} has no video VAE in it; needs an LTX-2 single file with its "
        f"VAE, or the VAE's own file: name it as the VAE (for LTX-2.5 {CONV_VAE_2_5})."
    )


def _arguments(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the arguments of diffusers' class for a file or folder."""
    if not checkpoint.is_diffusers:
        return diffusers_config(_vae_config(checkpoint))
    class_name = checkpoint.config.get("_class_name")
    if class_name != AutoencoderKLLTX2Video.__name__:
        raise ValueError(
            f"folder {checkpoint.path} holds a {class_name}; needs an "
            f"{AutoencoderKLLTX2Video.__name__}: name the VAE's folder, or that of the pipeline."
        )
    return {name: v for name, v in checkpoint.config.items() if not name.startswith("_")}


def _with_diffusion_decoder(checkpoint: Checkpoint, dtype: torch.dtype) -> AutoencoderKLLTX2Video:
    """Returns the VAE of a file with LTX-2.5's diffusion decoder."""
    # As in ComfyUI, what the metadata leave out is as it was published.
    config = checkpoint.config.get("vae", {})
    with torch.device("meta"):
        vae = AutoencoderKLLTX2Video(**encoder_arguments(encoder_config(config)))
        vae.decoder = DiffusionDecoder(config)
    prefix = "decoder."
    if f"{VAE_PREFIX}{prefix}conv_in.weight" in checkpoint.tensors:
        prefix = VAE_PREFIX + prefix
    names = [name for name in checkpoint.tensors if name.startswith(prefix)]
    read = checkpoint.read(names, dtype=dtype, device="cpu")
    try:
        vae.decoder.load_file((name.removeprefix(prefix), value) for name, value in read)
    except ValueError as error:
        raise ValueError(f"checkpoint {checkpoint.path}: {error}.") from error
    state = _read(checkpoint, vae, dtype, leave_out="decoder.")
    vae.load_state_dict(state, strict=False, assign=True)
    return vae


def _vae_config(checkpoint: Checkpoint) -> Mapping[str, Any]:
    config = checkpoint.config.get("vae")
    if not isinstance(config, Mapping):
        raise ValueError(
            f"checkpoint {checkpoint.path} has no VAE config in its metadata; needs an LTX-2 "
            "single file with its VAE, or the VAE's own file: name it as the VAE (for LTX-2.5 "
            f"{CONV_VAE_2_5})."
        )
    return config


def _vae_names(checkpoint: Checkpoint) -> list[str]:
    """Returns the names of the VAE's tensors in a checkpoint of more."""
    whole = list(checkpoint.tensors)
    return [name for name in whole if name.startswith(VAE_PREFIX)] or whole


def _read(
    checkpoint: Checkpoint,
    vae: AutoencoderKLLTX2Video,
    dtype: torch.dtype,
    leave_out: str | None = None,
) -> dict[str, Tensor]:
    """Returns the tensors of `vae` by its keys, without those that begin with `leave_out`.

    Raises ValueError for names that are missing and for other shapes.
    """
    num_encoder_blocks = len(vae.encoder.down_blocks)
    expected = {
        key: value
        for key, value in vae.state_dict().items()
        if leave_out is None or not key.startswith(leave_out)
    }
    present = checkpoint.tensors
    names = {key: key for key in expected}
    if not checkpoint.is_diffusers:
        names = {key: vae_key(key, num_encoder_blocks) for key in expected}
        if not any(name.startswith(VAE_PREFIX) for name in present):
            names = {key: name.removeprefix(VAE_PREFIX) for key, name in names.items()}
    missing = [name for name in names.values() if name not in present]
    if missing:
        raise ValueError(
            f"checkpoint {checkpoint.path} lacks {len(missing)} of the VAE's {len(names)} tensors, "
            f"the first {missing[0]}; needs an LTX-2 file with its VAE: use the published file."
        )
    for key, name in names.items():
        if present[name].shape != tuple(expected[key].shape):
            raise ValueError(
                f"checkpoint {checkpoint.path} has a VAE tensor {key} of shape "
                f"{list(present[name].shape)}; its own config needs {list(expected[key].shape)}: "
                "use the published file."
            )
    keys = {name: key for key, name in names.items()}
    read = checkpoint.read(keys, dtype=dtype, device="cpu")
    return {keys[name]: value for name, value in read}


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
