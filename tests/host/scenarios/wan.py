"""The networks of the baselines beside LTX, small and random.

They are the host's own classes: a file has the host's key names, and its detection finds in it what
it finds in the published ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import comfy.ops
import comfy.utils
import torch
from comfy.ldm.wan.model import VaceWanModel, WanModel
from comfy.ldm.wan.vae import WanVAE
from scenarios import host_forms
from torch import nn

# Wan's heads are always 128 wide: one head.
_TRANSFORMER = {"dim": 128, "ffn_dim": 128, "num_heads": 1, "num_layers": 2}
# Its mask's and its two clips' channels.
_VACE_CHANNELS = 96
# As Wan 2.1 has them; only the width is free.
_VAE = {
    "z_dim": 16,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_scales": [],
    "temperal_downsample": [False, True, True],
}
_UPSAMPLER = {
    "in_channels": 128,
    "mid_channels": 32,
    "num_blocks_per_stage": 1,
    "dims": 3,
    "spatial_upsample": True,
    "temporal_upsample": False,
}


def transformer(path: str, text_dim: int, vace: bool) -> None:
    """Wan 2.1's, or VACE's; Phantom's file has Wan 2.1's keys."""
    options: dict[str, Any] = _TRANSFORMER | {"text_dim": text_dim}
    options |= {"operations": comfy.ops.disable_weight_init, "dtype": torch.float32}
    if vace:
        model = VaceWanModel(**options, vace_layers=1, vace_in_dim=_VACE_CHANNELS)
    else:
        model = WanModel(**options)
    # Of all sizes the host takes the text's alone from the metadata, where they have it.
    _write(Path(path), model, {"transformer": {"text_dim": text_dim}})


def vae(path: str) -> None:
    _write(Path(path), WanVAE(dim=8, **_VAE), {})


def upsampler(path: str) -> None:
    _write(Path(path), host_forms.latent_upsampler(_UPSAMPLER), _UPSAMPLER)


def _write(path: Path, model: nn.Module, config: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    metadata = {"config": json.dumps(config)}
    comfy.utils.save_torch_file(model.state_dict(), str(path), metadata=metadata)
