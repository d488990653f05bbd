"""LTX-2's video connector, which turns Gemma's hidden states into what the video's blocks read.

All of Gemma's hidden layers are normalised, laid side by side and projected to the connector's
width. LTX-2.3 normalises each token by itself, LTX-2.0 each layer over the whole caption. The
connector then puts learned registers in the place of the padding and mixes the tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.pipelines.ltx2.connectors import (
    LTX2ConnectorTransformer1d,
    per_layer_masked_mean_norm,
    per_token_rms_norm,
)
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .checkpoint import connector_key

# LTX-2.3 has a projection for the video alone; that of LTX-2.0 serves video and audio.
_OWN_PROJECTION = "text_embedding_projection.video_aggregate_embed"
_SHARED_PROJECTION = "text_embedding_projection.aggregate_embed"
# A key in the metadata of LTX-2.5's files alone; it names the Gemma 4 that they were trained with.
_GEMMA_4_MARK = "gemma_source_checkpoint"


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


def load_connector(path: str | Path) -> VideoConnector:
    """Loads the video connector of an LTX-2.0 or LTX-2.3 single file, frozen, on the CPU.

    Raises ValueError for a file that cannot be read, that has no connector or a damaged one, and
    for LTX-2.5.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            present = set(file.keys())
            if _GEMMA_4_MARK in metadata:
                raise ValueError(
                    f"checkpoint {path} is LTX-2.5, whose text encoder is Gemma 4; needs LTX-2.0 "
                    "or LTX-2.3, with Gemma 3: prepare with one of them."
                )
            projection = _projection(path, present)
            with torch.device("meta"):
                connector = LTX2ConnectorTransformer1d(**_connector_config(metadata))
            names = {key: connector_key(key, "video") for key in connector.state_dict()}
            missing = [name for name in names.values() if name not in present]
            if missing:
                raise ValueError(
                    f"checkpoint {path} lacks {len(missing)} tensors of the connector, the first "
                    f"{missing[0]}; needs an LTX-2 single file: use the published file."
                )
            state = {key: file.get_tensor(name) for key, name in names.items()}
            weight = file.get_tensor(f"{projection}.weight")
            has_bias = f"{projection}.bias" in present
            bias = file.get_tensor(f"{projection}.bias") if has_bias else None
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"checkpoint {path} could not be read ({error}); needs an LTX-2 single file: check "
            "the path."
        ) from error
    _check_shapes(path, connector, state, weight)
    connector.load_state_dict(state, strict=True, assign=True)
    is_shared = projection == _SHARED_PROJECTION
    connected = VideoConnector(connector, weight, bias, is_shared=is_shared)
    return connected.requires_grad_(False).eval()


def _projection(path: str | Path, present: set[str]) -> str:
    for name in (_OWN_PROJECTION, _SHARED_PROJECTION):
        if f"{name}.weight" in present:
            return name
    raise ValueError(
        f"checkpoint {path} has no {_OWN_PROJECTION} (LTX-2.3) or {_SHARED_PROJECTION} (LTX-2.0); "
        "needs a single file with its text projection: use the file as it was published."
    )


def _connector_config(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Returns the arguments of diffusers' connector for a file's metadata.

    What the metadata leave out has LTX-2.0's value, as in ComfyUI.
    """
    config = json.loads(metadata.get("config", "{}")).get("transformer", {})
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
    path: str | Path, connector: nn.Module, state: Mapping[str, Tensor], weight: Tensor
) -> None:
    expected = {key: list(value.shape) for key, value in connector.state_dict().items()}
    wrong = [key for key, shape in expected.items() if list(state[key].shape) != shape]
    if wrong:
        raise ValueError(
            f"checkpoint {path} has a connector tensor {wrong[0]} of shape "
            f"{list(state[wrong[0]].shape)}; its own config needs {expected[wrong[0]]}: use the "
            "published file."
        )
    if weight.shape[0] != connector.inner_dim:
        raise ValueError(
            f"checkpoint {path} projects captions to {weight.shape[0]} channels, its connector "
            f"takes {connector.inner_dim}: use the published file."
        )
