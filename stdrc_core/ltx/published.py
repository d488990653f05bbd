"""The sizes of the published LTX-2 models, for rehearsals: no file of weights is needed.

They are what the files' metadata say. A setting that is left out has the published size as its
default (transformer_config).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel
from torch import Tensor

from .base_version import base_version, title, version_by_file
from .checkpoint import VAE_PREFIX, transformer_key, vae_key
from .checkpoint_files import Checkpoint, StoredTensor, open_checkpoint
from .file_versions import (
    CONV_VAE_2_5,
    DIFFUSION_VAE_2_5,
    decodes_by_diffusion,
    needs_gemma_4,
    version_by_name,
)
from .transformer_config import arguments_of
from .vae import VideoVAE, diffusers_config

_TRANSFORMER_2_0: dict[str, Any] = {
    "_class_name": "AVTransformer3DModel",
    "positional_embedding_max_pos": [20, 2048, 2048],
    "causal_temporal_positioning": True,
    "use_middle_indices_grid": True,
    "rope_type": "split",
    "frequencies_precision": "float64",
    "av_ca_timestep_scale_multiplier": 1000.0,
}
_TRANSFORMER_2_3 = _TRANSFORMER_2_0 | {
    "apply_gated_attention": True,
    "cross_attention_adaln": True,
    "caption_proj_before_connector": True,
    "connector_num_attention_heads": 32,
    "connector_num_layers": 8,
    "connector_apply_gated_attention": True,
}
_TRANSFORMER_2_5 = _TRANSFORMER_2_3 | {"ff_bias": False, "use_keyframes_abs_pos_embedding": True}

_VAE_2_3: dict[str, Any] = {
    "_class_name": "CausalVideoAutoencoder",
    "latent_channels": 128,
    "encoder_blocks": [
        ["res_x", {"num_layers": 4}],
        ["compress_space_res", {"multiplier": 2}],
        ["res_x", {"num_layers": 6}],
        ["compress_time_res", {"multiplier": 2}],
        ["res_x", {"num_layers": 4}],
        ["compress_all_res", {"multiplier": 2}],
        ["res_x", {"num_layers": 2}],
        ["compress_all_res", {"multiplier": 1}],
        ["res_x", {"num_layers": 2}],
    ],
    "decoder_blocks": [
        ["res_x", {"num_layers": 4}],
        ["compress_space", {"multiplier": 2}],
        ["res_x", {"num_layers": 6}],
        ["compress_time", {"multiplier": 2}],
        ["res_x", {"num_layers": 4}],
        ["compress_all", {"multiplier": 1}],
        ["res_x", {"num_layers": 2}],
        ["compress_all", {"multiplier": 2}],
        ["res_x", {"num_layers": 2}],
    ],
    "patch_size": 4,
    "causal_decoder": False,
    "timestep_conditioning": False,
    "encoder_base_channels": 128,
    "decoder_base_channels": 128,
    "spatial_padding_mode": "zeros",
}
_VAE_2_0 = _VAE_2_3 | {
    "encoder_blocks": [
        ["res_x", {"num_layers": 4}],
        ["compress_space_res", {"multiplier": 2}],
        ["res_x", {"num_layers": 6}],
        ["compress_time_res", {"multiplier": 2}],
        ["res_x", {"num_layers": 6}],
        ["compress_all_res", {"multiplier": 2}],
        ["res_x", {"num_layers": 2}],
        ["compress_all_res", {"multiplier": 2}],
        ["res_x", {"num_layers": 2}],
    ],
    "decoder_blocks": [
        ["res_x", {"num_layers": 5}],
        *(
            [["compress_all", {"residual": True, "multiplier": 2}], ["res_x", {"num_layers": 5}]]
            * 3
        ),
    ],
}
# Both Gemmas, 3 and 4 of 12B, without vision tower and norms: width, layers, and the width of the
# feed-forward. Every sixth layer sees the whole text.
_GEMMA_WIDTH, _GEMMA_LAYERS, _GEMMA_FEED_FORWARD, _SIXTH = 3840, 48, 15360, 6


@dataclass(frozen=True, kw_only=True)
class _Gemma:
    """What the Gemmas differ in."""

    num_words: int
    near: int
    """The widths of queries, keys, values and output of a layer that sees nearby words, together.
    """
    whole: int
    """Those of a layer that sees the whole text."""

    @property
    def of_layers(self) -> int:
        """The numbers in the matrices of all layers."""
        num_whole = _GEMMA_LAYERS // _SIXTH
        attention = num_whole * self.whole + (_GEMMA_LAYERS - num_whole) * self.near
        return _GEMMA_WIDTH * (attention + _GEMMA_LAYERS * 3 * _GEMMA_FEED_FORWARD)


_GEMMA_3 = _Gemma(num_words=262_208, near=2 * (4096 + 2048), whole=2 * (4096 + 2048))
# In a layer that sees the whole text the values are the keys, of one head.
_GEMMA_4 = _Gemma(num_words=262_144, near=2 * (4096 + 2048), whole=2 * 8192 + 512)


@dataclass(frozen=True, kw_only=True)
class Published:
    """The sizes of one published version."""

    transformer: Mapping[str, Any]
    """The `transformer` part of the files' config, without what has its default."""
    vae: Mapping[str, Any]
    """The `vae` part of the files' config; of LTX-2.5 that of the convolutional VAE."""


# LTX-2.5's convolutional VAE has the sizes of LTX-2.3's.
PUBLISHED = {
    "2.0": Published(transformer=_TRANSFORMER_2_0, vae=_VAE_2_0),
    "2.3": Published(transformer=_TRANSFORMER_2_3, vae=_VAE_2_3),
    "2.5": Published(transformer=_TRANSFORMER_2_5, vae=_VAE_2_3),
}
NAMES = tuple(f"ltx-{version}" for version in PUBLISHED)


@dataclass(frozen=True, kw_only=True)
class Sizes(Checkpoint):
    """A checkpoint whose tensors are read as empty ones of their size.

    It is for rehearsals, where these empty tensors are torch's fake ones and take no memory.
    """

    def read(
        self, names: Iterable[str], *, dtype: torch.dtype | None, device: torch.device | str
    ) -> Iterator[tuple[str, Tensor]]:
        """Yields (name, empty tensor on `device`); a dtype of None is bfloat16."""
        for name in names:
            shape = self.tensors[name].shape
            yield name, torch.empty(shape, dtype=dtype or torch.bfloat16, device=device)


def open_sizes(path: Path) -> Sizes:
    """Returns the sizes of a file, or of a published model.

    A published model is meant by `ltx-2.0`, `ltx-2.3` or `ltx-2.5`, and where a file is not there
    by the name that Lightricks publishes it under. Raises ValueError for any other path that is not
    there, and as `open_checkpoint` does.
    """
    if path.exists():
        return Sizes(**vars(open_checkpoint(path)))
    if path.name == DIFFUSION_VAE_2_5:
        raise ValueError(_no_sizes_of_diffusion(path))
    version = path.name.lower().removeprefix("ltx-")
    if version not in PUBLISHED:
        version = version_by_file(path.name) or version_by_name(path.name)
    if version is None:
        raise ValueError(
            f"checkpoint {path} does not exist, and its name is not a published one; needs a file, "
            f"or one of {', '.join(NAMES)} for a rehearsal at that model's size."
        )
    return _published(version)


def sized_vae(sizes: Checkpoint, dtype: torch.dtype, device: torch.device) -> VideoVAE:
    """Returns the checkpoint's VAE with empty weights on `device`."""
    if decodes_by_diffusion(sizes):
        raise ValueError(_no_sizes_of_diffusion(sizes.path))
    config = sizes.config.get("vae")
    if not isinstance(config, Mapping):
        raise ValueError(
            f"checkpoint {sizes.path} has no VAE config in its metadata; needs a file with the "
            "video VAE, as its own option names it."
        )
    with torch.device("meta"):
        vae = AutoencoderKLLTX2Video(**diffusers_config(config))
    state = {
        key: torch.empty(value.shape, dtype=dtype, device=device)
        for key, value in vae.state_dict().items()
    }
    vae.load_state_dict(state, assign=True)
    return VideoVAE(vae)


def file_bytes(checkpoint: Checkpoint) -> int:
    """Returns how long a checkpoint's tensors are on disk; those of a published one as bfloat16."""
    width = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
    return sum(
        torch.Size(each.shape).numel() * width.get(each.dtype, 1)
        for each in checkpoint.tensors.values()
    )


def text_encoder_bytes(checkpoint: Checkpoint, *, is_int8: bool = False) -> int:
    """Returns the bytes of the published text encoder of a checkpoint's version, in bfloat16.

    It is the language model of Gemma 3 12B, or for LTX-2.5 of Gemma 4 12B, with the projection of
    its hidden states and the video's connector. `is_int8` is for matrices of Gemma's layers in 8
    bits.
    """
    settings = checkpoint.config.get("transformer", {})
    gemma = _GEMMA_4 if needs_gemma_4(base_version(checkpoint.tensors)) else _GEMMA_3
    heads = settings.get("connector_num_attention_heads", 30)
    inner = heads * settings.get("connector_attention_head_dim", 128)
    connector = settings.get("connector_num_layers", 2) * 12 * inner**2
    # The words' own embedding counts as a hidden state too.
    projection = inner * _GEMMA_WIDTH * (_GEMMA_LAYERS + 1)
    rest = gemma.num_words * _GEMMA_WIDTH + connector + projection
    return (1 if is_int8 else 2) * gemma.of_layers + 2 * rest


def _no_sizes_of_diffusion(path: Path) -> str:
    return (
        f"vae {path} decodes by diffusion, which is not rehearsed; needs the convolutional "
        f"decoder's sizes: take {CONV_VAE_2_5}, whether it is there or not."
    )


@cache
def _published(version: str) -> Sizes:
    sizes = PUBLISHED[version]
    source = Path(title(version))
    with torch.device("meta"):
        transformer = LTX2VideoTransformer3DModel(**arguments_of(sizes.transformer, str(source)))
        vae = AutoencoderKLLTX2Video(**diffusers_config(sizes.vae))
    num_blocks = sum(kind == "res_x" for kind, _ in sizes.vae["encoder_blocks"]) - 1
    shapes = {transformer_key(key): each.shape for key, each in transformer.state_dict().items()}
    shapes |= {vae_key(key, num_blocks): each.shape for key, each in vae.state_dict().items()}
    assert any(name.startswith(VAE_PREFIX) for name in shapes)
    return Sizes(
        path=source,
        is_diffusers=False,
        config={"transformer": dict(sizes.transformer), "vae": dict(sizes.vae)},
        tensors={
            name: StoredTensor(file=source, name=name, shape=tuple(shape), dtype="BF16")
            for name, shape in shapes.items()
        },
    )
