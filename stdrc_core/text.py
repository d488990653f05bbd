"""Captions to the embeddings that LTX-2.3's video blocks read: Gemma 3, then LTX's own connector.

All of Gemma's hidden layers are normalised per token, laid side by side and projected to the
transformer's width; the connector puts learned registers in place of the padding and mixes the
tokens. That is done once for each caption, so a training run needs no Gemma.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from diffusers.pipelines.ltx2.connectors import LTX2ConnectorTransformer1d, per_token_rms_norm
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .checkpoint import connector_key

NUM_TOKENS = 1024
_PROJECTION = "text_embedding_projection.video_aggregate_embed"


class TextEncoder(Protocol):
    """Embeds one caption for the video blocks: `[L, D]`; `name` goes to the cache's manifest."""

    name: str

    def encode(self, text: str) -> Tensor: ...


class VideoConnector(nn.Module):
    """Gemma's hidden states to the video's context, with the weights of an LTX-2.3 file."""

    def __init__(
        self, connector: LTX2ConnectorTransformer1d, weight: Tensor, bias: Tensor | None
    ) -> None:
        """`weight` `[D, C * layers]` and `bias` `[D]` are the file's projection."""
        super().__init__()
        self.connector = connector
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """`[B, L, C, layers]` hidden states and `[B, L]` 1 where a token is: `[B, L, D]`."""
        width, channels = self.weight.shape[0], hidden.shape[2]
        normed = per_token_rms_norm(hidden).flatten(2) * mask[..., None]
        scaled = (normed * math.sqrt(width / channels)).to(self.weight.dtype)
        tokens = F.linear(scaled, self.weight, self.bias)
        additive = (mask.to(tokens.dtype) - 1)[:, None, None] * torch.finfo(tokens.dtype).max
        return self.connector(tokens, additive)[0]


class GemmaText:
    """`TextEncoder` of LTX-2.3: a tokenizer, Gemma and the video connector."""

    def __init__(self, name: str, tokenizer: Any, model: Any, connector: VideoConnector) -> None:
        self.name, self.tokenizer, self.model, self.connector = name, tokenizer, model, connector
        # As LTX's pipeline does: captions stand at the end.
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    @torch.no_grad()
    def encode(self, text: str) -> Tensor:
        """`[1024, D]` float32 on the CPU; what goes beyond 1024 tokens is cut off."""
        tokens = self.tokenizer(
            [text.strip()],
            padding="max_length",
            max_length=NUM_TOKENS,
            truncation=True,
            add_special_tokens=True,
            return_tensors="pt",
        )
        device = self.connector.weight.device
        ids, mask = tokens["input_ids"].to(device), tokens["attention_mask"].to(device)
        output = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        hidden = torch.stack(output.hidden_states, dim=-1)
        return self.connector(hidden, mask)[0].float().cpu()


def load_gemma(folder: str | Path, checkpoint: str | Path, device: torch.device) -> GemmaText:
    """Gemma 3 from a local folder in transformers' layout, connectors from an LTX-2.3 file.

    Nothing is downloaded. Raises ValueError when the folder is missing, transformers is not
    installed, or the checkpoint has no connector.
    """
    if not Path(folder).is_dir():
        raise ValueError(
            f"text encoder {folder} is no folder; needs Gemma 3 12B in transformers' layout: "
            "download it first and name its folder."
        )
    try:
        from transformers import AutoTokenizer, Gemma3ForConditionalGeneration
    except ImportError as error:
        raise ValueError(
            f"text encoder {folder} needs the package transformers, which could not be imported "
            f"({error}): install it."
        ) from error
    dtype = torch.bfloat16
    connector = load_connector(checkpoint).to(device, dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = Gemma3ForConditionalGeneration.from_pretrained(
        folder, local_files_only=True, torch_dtype=dtype
    )
    return GemmaText(Path(folder).name, tokenizer, model.to(device).eval(), connector)


def load_connector(path: str | Path) -> VideoConnector:
    """The video connector of an LTX-2.3 single file. Raises ValueError when it has none."""
    try:
        with safe_open(path, framework="pt") as file:
            config = json.loads((file.metadata() or {}).get("config", "{}")).get("transformer", {})
            present = set(file.keys())
            if f"{_PROJECTION}.weight" not in present:
                raise ValueError(
                    f"checkpoint {path} has no {_PROJECTION}; needs an LTX-2.3 single file with "
                    "its text projection: use the file as it was published."
                )
            with torch.device("meta"):
                connector = LTX2ConnectorTransformer1d(**_connector_config(config))
            names = {key: connector_key(key, "video") for key in connector.state_dict()}
            missing = [name for name in names.values() if name not in present]
            if missing:
                raise ValueError(
                    f"checkpoint {path} lacks {len(missing)} tensors of the connector, the first "
                    f"{missing[0]}; needs an LTX-2.3 single file: use the published file."
                )
            state = {key: file.get_tensor(name) for key, name in names.items()}
            weight = file.get_tensor(f"{_PROJECTION}.weight")
            has_bias = f"{_PROJECTION}.bias" in present
            bias = file.get_tensor(f"{_PROJECTION}.bias") if has_bias else None
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(
            f"checkpoint {path} could not be read ({error}); needs an LTX-2.3 single file: check "
            "the path."
        ) from error
    connector.load_state_dict(state, strict=True, assign=True)
    return VideoConnector(connector, weight, bias).requires_grad_(False).eval()


def _connector_config(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of diffusers' connector for the `transformer` part of a file's `config`."""
    return {
        "num_attention_heads": config.get("connector_num_attention_heads", 32),
        "attention_head_dim": config.get("connector_attention_head_dim", 128),
        "num_layers": config.get("connector_num_layers", 8),
        "num_learnable_registers": config.get("connector_num_learnable_registers", 128),
        "rope_base_seq_len": config.get("connector_positional_embedding_max_pos", [4096])[0],
        "rope_theta": config.get("positional_embedding_theta", 10000.0),
        "rope_double_precision": config.get("frequencies_precision") == "float64",
        "rope_type": config.get("rope_type", "interleaved"),
        "gated_attention": config.get("connector_apply_gated_attention", False),
    }
