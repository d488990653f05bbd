"""LTX-2.5's text encoder of the host's own classes, built small: Gemma 4's size is theirs alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.sd
import comfy.utils
import torch
from torch import Tensor


def context(transformer: str, text_encoder: str, text: str) -> Tensor:
    """`[1, L, D]`: the context of a caption, the video's and the audio's side by side.

    The two files are read as UNETLoader and CLIPLoader (type ltxv) read them.
    """
    model = comfy.sd.load_diffusion_model(transformer, model_options={"dtype": torch.float32})
    tokens, extra = _encode(text_encoder, text)
    comfy.model_management.load_models_gpu([model], force_full_load=True)
    return model.model.diffusion_model.preprocess_text_embeds(
        tokens, unprocessed=extra["unprocessed_ltxav_embeds"]
    )


def conditioning(text_encoder: str, text: str) -> list:
    """What CLIPTextEncode gives."""
    tokens, extra = _encode(text_encoder, text)
    return [[tokens, extra]]


def _encode(path: str, text: str) -> tuple[Tensor, dict[str, Any]]:
    from comfy.text_encoders import gemma4, lt

    weights, metadata = comfy.utils.load_torch_file(path, return_metadata=True)
    weights, metadata = comfy.utils.convert_old_quants(weights, metadata=metadata)
    sizes = json.loads(metadata["gemma_config"])["text_config"]
    made = _small(gemma4, sizes)
    encoder = lt.ltxav_te(
        **comfy.sd.llama_detect([weights]),
        **lt.sd_detect([weights]),
        text_encoder_model=gemma4.gemma4_text_encoder_model(made),
        text_encoder_key="gemma4",
    )(dtype=torch.float32)
    tokenizer = lt.ltxav_gemma4_tokenizer(gemma4.Gemma4_12B.tokenizer)(
        tokenizer_data={"tokenizer_json": weights["tokenizer_json"]}
    )
    missing, unexpected = encoder.load_sd(weights)
    towers = ("vision_model", "multi_modal_projector", "audio_projector", "logit_scale")
    lost = [name for name in missing if not any(part in name for part in towers)]
    assert not lost, lost
    assert {name for name in unexpected if "hf_asset" not in name} <= {"tokenizer_json"}
    encoder.set_clip_options({"execution_device": torch.device("cpu")})
    with torch.no_grad():
        tokens, _, extra = encoder.encode_token_weights(tokenizer.tokenize_with_weights(text))
    return tokens, extra


def _small(gemma4: Any, sizes: dict[str, Any]) -> type:
    """The host's Gemma 4 12B with other sizes and towers; its layers are its own."""
    windows = [
        sizes["sliding_window"] if kind == "sliding_attention" else False
        for kind in sizes["layer_types"]
    ]

    @dataclass
    class Config(gemma4.Gemma4_12B_Config):
        vocab_size: int = sizes["vocab_size"]
        hidden_size: int = sizes["hidden_size"]
        intermediate_size: int = sizes["intermediate_size"]
        num_hidden_layers: int = sizes["num_hidden_layers"]
        num_attention_heads: int = sizes["num_attention_heads"]
        num_key_value_heads: int = sizes["num_key_value_heads"]

    # The host has these on the class, and not as fields.
    Config.num_global_key_value_heads = 1
    Config.head_dim, Config.global_head_dim = 16, 32
    Config.sliding_attention = windows
    Config.suppress_tokens = ()
    Config.vision_config = {**gemma4.GEMMA4_UNIFIED_VISION_CONFIG, "mm_embed_dim": 16}

    class Small(gemma4.Gemma4UnifiedBase):
        def __init__(self, config_dict: Any, dtype: Any, device: Any, operations: Any) -> None:
            super().__init__()
            self._init_model(Config(**config_dict), dtype, device, operations)

    return Small
