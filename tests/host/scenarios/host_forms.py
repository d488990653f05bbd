"""What ComfyUI's versions hold in different forms, read in one way.

A host that changes a form again is one more case here.
"""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import comfy.ops
import torch
from comfy.ldm.lightricks.latent_upsampler import LatentUpsampler
from comfy.text_encoders.lt import LTXAVTEModel
from torch import Tensor

_GEMMA = "gemma3_12b"


def rope_without(table: Any, num_tokens: int) -> Any:
    """A transformer's RoPE table without its last tokens."""
    first, second, *rest = table
    if isinstance(second, Tensor):
        return first[:, :, :-num_tokens], second[:, :, :-num_tokens], *rest
    return first[:, :-num_tokens], second, *rest


def rope_cos_sin(table: Any) -> tuple[Tensor, Tensor]:
    """The cosines and sines `[B, heads, N, L]` of a table of split RoPE.

    Since 0.33 it holds rotation matrices `[B, N, heads, L, 2, 2]`.
    """
    first, second, *_ = table
    if isinstance(second, Tensor):
        return first, second
    matrices = first.movedim(1, 2)
    return matrices[..., 0, 0], matrices[..., 1, 0]


def latent_upsampler(config: dict[str, Any]) -> LatentUpsampler:
    """LTX's latent upsampler; since 0.33 it is told which layers to build it of."""
    takes = inspect.signature(LatentUpsampler.from_config).parameters
    options = {"operations": comfy.ops.disable_weight_init} if "operations" in takes else {}
    return LatentUpsampler.from_config(config, **options)


def encode_hidden_states(
    projection: torch.nn.Module, kind: str, hidden: Tensor, mask: Tensor
) -> tuple[Tensor, Any, dict[str, Any]]:
    """LTX-2's text encoder from Gemma's hidden states on; `kind` is its projection's type.

    The encoder's own class cannot be built small: Gemma's size is fixed in the host.
    """
    gemma = SimpleNamespace(
        encode_token_weights=lambda _: (hidden, None, {"attention_mask": mask}),
    )
    encoder = SimpleNamespace(
        gemma3_12b=gemma,
        text_embedding_projection=projection,
        text_projection_type=kind,
        compat_mode=False,
        execution_device=torch.device("cpu"),
        # Since LTX-2.5 the host knows more than one Gemma, each under a key of its own.
        text_encoder_key=_GEMMA,
    )
    return LTXAVTEModel.encode_token_weights(encoder, {_GEMMA: None})
