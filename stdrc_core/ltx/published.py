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

from .base_version import title, version_by_file
from .checkpoint import VAE_PREFIX, transformer_key, vae_key
from .checkpoint_files import Checkpoint, StoredTensor, open_checkpoint
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
# Gemma 3 12B without its vision tower and its norms: width, layers, width of the feed-forward,
# words; and the widths of the queries and of the keys, which are grouped.
_GEMMA_3_12B = (3840, 48, 15360, 262_208)
_GEMMA_QUERIES, _GEMMA_KEYS = 4096, 2048


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
    version = path.name.lower().removeprefix("ltx-")
    version = version if version in PUBLISHED else version_by_file(path.name)
    if version is None:
        raise ValueError(
            f"checkpoint {path} does not exist, and its name is not a published one; needs a file, "
            f"or one of {', '.join(NAMES)} for a rehearsal at that model's size."
        )
    return _published(version)


def sized_vae(sizes: Checkpoint, dtype: torch.dtype, device: torch.device) -> VideoVAE:
    """Returns the checkpoint's VAE with empty weights on `device`."""
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


def text_encoder_bytes(checkpoint: Checkpoint) -> int:
    """Returns the bytes of Gemma 3 12B in bfloat16 and of the video's connector after it.

    Raises ValueError for LTX-2.5, whose Gemma 4 is not counted yet.
    """
    settings = checkpoint.config.get("transformer", {})
    if settings.get("use_keyframes_abs_pos_embedding"):
        raise ValueError(
            f"checkpoint {checkpoint.path} is LTX-2.5, whose text encoder's size is not known "
            "here; needs LTX-2.0 or LTX-2.3: name one of them."
        )
    width, layers, feed_forward, vocabulary = _GEMMA_3_12B
    attention = 2 * width * (_GEMMA_QUERIES + _GEMMA_KEYS)
    gemma = layers * (attention + 3 * width * feed_forward) + vocabulary * width
    heads = settings.get("connector_num_attention_heads", 30)
    inner = heads * settings.get("connector_attention_head_dim", 128)
    connector = settings.get("connector_num_layers", 2) * 12 * inner**2
    return 2 * (gemma + connector + inner * width * (layers + 1))


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
