"""LTX-2's video connector, which turns Gemma's hidden states into what the video's blocks read.

All of Gemma's hidden layers are normalised, laid side by side and projected to the connector's
width. LTX-2.3 and LTX-2.5 normalise each token by itself, LTX-2.0 each layer over the whole
caption. The connector then puts learned registers in the place of the padding and mixes the tokens.

The connector is in the transformer's file. So is the projection up to LTX-2.3; that of LTX-2.5 is
in the text encoder's file. A diffusers folder has both in its folder `connectors`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.pipelines.ltx2.connectors import (
    LTX2ConnectorTransformer1d,
    per_layer_masked_mean_norm,
    per_token_rms_norm,
)
from torch import Tensor, nn

from .checkpoint import TEXT_PREFIX, connector_key
from .checkpoint_files import Checkpoint, open_checkpoint
from .file_versions import TEXT_ENCODER_2_5, needs_gemma_4, transformer_version
from .trained_for import without_facts

# LTX-2.3 and later have a projection for the video alone; that of LTX-2.0 serves video and audio.
_OWN_PROJECTION = f"{TEXT_PREFIX}video_aggregate_embed"
_SHARED_PROJECTION = f"{TEXT_PREFIX}aggregate_embed"
# diffusers' names: of the two projections, and the beginning of the connector's.
_DIFFUSERS_PROJECTIONS = {"video_text_proj_in": _OWN_PROJECTION, "text_proj_in": _SHARED_PROJECTION}
_DIFFUSERS_PREFIX = "video_connector."
_FOLDER = "connectors"


class VideoConnector(nn.Module):
    """Turns Gemma's hidden states into the video's context, with the weights of an LTX-2 file."""

    def __init__(
        self,
        connector: LTX2ConnectorTransformer1d,
        weight: Tensor,
        bias: Tensor | None,
        *,
        is_shared: bool,
    ) -> None:
        """`weight` `[D, C * layers]` and `bias` `[D]` are the file's projection.

        `is_shared` says that it is LTX-2.0's, which serves video and audio.
        """
        super().__init__()
        self.connector, self.is_shared = connector, is_shared
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Returns the context `[B, L, D]`, in which learned registers stand after the tokens.

        `hidden` are Gemma's hidden states `[B, l, C, layers]` of the last l of L tokens; before
        these there is padding alone. `mask` `[B, L]` is 1 for a token and 0 for padding.
        """
        num_left_out = mask.shape[1] - hidden.shape[1]
        own = mask[:, num_left_out:]
        if self.is_shared:
            # This normalisation leaves zeros where the padding is.
            normed = per_layer_masked_mean_norm(hidden, own.sum(dim=1), hidden.device)
        else:
            scale = math.sqrt(self.weight.shape[0] / hidden.shape[2])
            normed = per_token_rms_norm(hidden).flatten(2) * own[..., None] * scale
        tokens = F.linear(normed.to(self.weight.dtype), self.weight, self.bias)
        # What stands for padding is of no account: the registers take its place.
        tokens = F.pad(tokens, (0, 0, num_left_out, 0))
        additive = (mask.to(tokens.dtype) - 1)[:, None, None] * torch.finfo(tokens.dtype).max
        return self.connector(tokens, additive)[0]


def load_connector(
    path: str | Path, text_encoder: Checkpoint | None = None, *, dtype: torch.dtype | None = None
) -> VideoConnector:
    """Loads the video connector of an LTX-2 file or diffusers folder, frozen, on the CPU.

    `text_encoder` is the file of LTX-2.5's text encoder, whose projection is taken where it has
    one. A dtype of None keeps the file's. Raises ValueError for a path that cannot be read, that
    has no connector or a damaged one, and where neither file has a projection.
    """
    checkpoint = _open(path)
    source = text_encoder if text_encoder and _projection(text_encoder) else checkpoint
    projection = _projection(source)
    if projection is None:
        raise ValueError(_no_projection(path))
    with torch.device("meta"):
        connector = LTX2ConnectorTransformer1d(**_arguments(checkpoint))
    keys = connector.state_dict()
    if checkpoint.is_diffusers:
        names = {f"{_DIFFUSERS_PREFIX}{key}": key for key in keys}
    else:
        names = {connector_key(key, "video"): key for key in keys}
    missing = [name for name in names if name not in checkpoint.tensors]
    if missing:
        raise ValueError(
            f"checkpoint {path} lacks {len(missing)} tensors of the connector, the first "
            f"{missing[0]}; needs an LTX-2 transformer's file: use the published file."
        )
    role, stored = projection
    parts = {part: f"{stored}.{part}" for part in ("weight", "bias")}
    parts = {part: name for part, name in parts.items() if name in source.tensors}
    _check_shapes(path, connector, checkpoint, names)
    width = source.tensors[parts["weight"]].shape[0]
    if width != connector.inner_dim:
        raise ValueError(
            f"checkpoint {source.path} projects captions to {width} channels, the connector of "
            f"{path} takes {connector.inner_dim}: use files of one version of LTX."
        )
    for each, wanted in ((checkpoint, names), (source, parts.values())):
        each.require_readable(wanted, "the file in bfloat16")
    read = dict(source.read(parts.values(), dtype=dtype, device="cpu"))
    state = {
        names[name]: value for name, value in checkpoint.read(names, dtype=dtype, device="cpu")
    }
    connector.load_state_dict(state, strict=True, assign=True)
    connected = VideoConnector(
        connector,
        read[parts["weight"]],
        read[parts["bias"]] if "bias" in parts else None,
        is_shared=role == _SHARED_PROJECTION,
    )
    return connected.requires_grad_(False).eval()


def _open(path: str | Path) -> Checkpoint:
    """Opens a file, or of a diffusers folder the connectors, which lie beside the transformer."""
    path = Path(path)
    if path.is_dir() and (path / "config.json").is_file() and path.name != _FOLDER:
        path = path.parent
    return open_checkpoint(path, _FOLDER)


def _projection(checkpoint: Checkpoint) -> tuple[str, str] | None:
    """Returns the single file's name of a file's projection, and the name that it has in the file.

    Returns None where the file has no projection.
    """
    names = {name: name for name in (_OWN_PROJECTION, _SHARED_PROJECTION)}
    if checkpoint.is_diffusers:
        names = {ours: theirs for theirs, ours in _DIFFUSERS_PROJECTIONS.items()}
    return next((each for each in names.items() if f"{each[1]}.weight" in checkpoint.tensors), None)


def _no_projection(path: str | Path) -> str:
    needed = f"{_OWN_PROJECTION} (LTX-2.3) or {_SHARED_PROJECTION} (LTX-2.0)"
    if needs_gemma_4(transformer_version(path)):
        return (
            f"checkpoint {path} is LTX-2.5, whose {_OWN_PROJECTION} is in the file of its text "
            "encoder, and the one that was named has none; needs the Gemma 4 that Lightricks tuned "
            f"for it: name {TEXT_ENCODER_2_5}."
        )
    return (
        f"checkpoint {path} has no {needed}; needs a single file with its text projection: use the "
        "file as it was published."
    )


def _arguments(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the arguments of diffusers' connector for a file or folder.

    What a file's metadata leave out has LTX-2.0's value, as in ComfyUI.
    """
    config = checkpoint.config
    if checkpoint.is_diffusers:
        return {
            "num_attention_heads": config["video_connector_num_attention_heads"],
            "attention_head_dim": config["video_connector_attention_head_dim"],
            "num_layers": config["video_connector_num_layers"],
            "num_learnable_registers": config["video_connector_num_learnable_registers"],
            "rope_base_seq_len": config["connector_rope_base_seq_len"],
            "rope_theta": config["rope_theta"],
            "rope_double_precision": config["rope_double_precision"],
            "rope_type": config["rope_type"],
            "gated_attention": config["video_gated_attn"],
        }
    config = without_facts(config.get("transformer") or {})
    return {
        "num_attention_heads": config.get("connector_num_attention_heads", 30),
        "attention_head_dim": config.get("connector_attention_head_dim", 128),
        "num_layers": config.get("connector_num_layers", 2),
        "num_learnable_registers": config.get("connector_num_learnable_registers", 128),
        "rope_base_seq_len": config.get("connector_positional_embedding_max_pos", [4096])[0],
        "rope_double_precision": config.get("frequencies_precision", "float64") == "float64",
        "rope_type": config.get("rope_type", "split"),
        "gated_attention": config.get("connector_apply_gated_attention", False),
    }


def _check_shapes(
    path: str | Path, connector: nn.Module, checkpoint: Checkpoint, names: dict[str, str]
) -> None:
    expected = {key: tuple(value.shape) for key, value in connector.state_dict().items()}
    for name, key in names.items():
        found = checkpoint.tensors[name].shape
        if found != expected[key]:
            raise ValueError(
                f"checkpoint {path} has a connector tensor {key} of shape {list(found)}; its own "
                f"config needs {list(expected[key])}: use the published file."
            )
