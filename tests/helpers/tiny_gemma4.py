"""A tiny random Gemma 4 as LTX-2.5 has it: in ComfyUI's one file, and in transformers' folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from safetensors.torch import save_file
from torch import Tensor

from helpers import tiny_ltx
from helpers.tiny_text_encoders import WORDS, file_tensors
from stdrc_core.ltx.checkpoint import TEXT_PREFIX, write_checkpoint

WIDTH, NUM_LAYERS = 48, 6
TEXT_CONFIG: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": NUM_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_global_key_value_heads": 1,
    "head_dim": 16,
    "global_head_dim": 32,
    "attention_k_eq_v": True,
    # Shorter than the longest caption; every third layer sees all of it.
    "sliding_window": 16,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
}
SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
SETTINGS = tiny_ltx.LTX_2_5 | {
    "connector_attention_head_dim": 24,
    "audio_connector_attention_head_dim": 8,
    "connector_apply_gated_attention": True,
}
GEMMA_VERSION = "gemma4-tiny-v1"


def tokenizer_json() -> str:
    """Words split at spaces; as Gemma 4's own, it puts nothing before a text."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer.to_str()


def config() -> Any:
    from transformers import Gemma4UnifiedConfig

    return Gemma4UnifiedConfig(
        text_config=TEXT_CONFIG | {"vocab_size": len(SPECIAL) + len(WORDS)},
        vision_config={"mm_embed_dim": 16, "mm_posemb_size": 8, "output_proj_dims": 16},
        audio_config={"audio_embed_dim": 8},
    )


def build() -> Any:
    """transformers' whole model, every number random."""
    from transformers import Gemma4UnifiedForConditionalGeneration

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        model = Gemma4UnifiedForConditionalGeneration(config())
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if value.requires_grad:
                torch.nn.init.normal_(value, std=0.2)
            elif name.endswith("layer_scalar"):
                value.fill_(0.5 + torch.rand(()).item())
    return model.eval()


def language_tensors(model: Any) -> dict[str, Tensor]:
    """The language model's weights under ComfyUI's names."""
    prefix = "model.language_model."
    return {
        "model." + key.removeprefix(prefix): value
        for key, value in model.state_dict().items()
        if key.startswith(prefix)
    }


def build_connectors() -> LTX2TextConnectors:
    """diffusers' own of both modalities, as LTX-2.5 has them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        connectors = LTX2TextConnectors(
            caption_channels=WIDTH,
            text_proj_in_factor=NUM_LAYERS + 1,
            video_connector_num_attention_heads=4,
            video_connector_attention_head_dim=24,
            video_connector_num_layers=1,
            video_gated_attn=True,
            audio_connector_num_attention_heads=4,
            audio_connector_attention_head_dim=8,
            audio_connector_num_layers=1,
            audio_gated_attn=True,
            rope_type="split",
            rope_double_precision=True,
            per_modality_projections=True,
            video_hidden_dim=96,
            audio_hidden_dim=32,
            proj_bias=True,
        )
        for parameter in connectors.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return connectors.eval()


def write_transformer(path: Path, connectors: LTX2TextConnectors, seed: int = 0) -> Path:
    """The split file of the transformer, with the connectors and without the projections."""
    own = file_tensors(connectors)
    tensors = tiny_ltx.file_tensors(tiny_ltx.build_tiny(SETTINGS, seed))
    tensors |= {name: value for name, value in own.items() if not name.startswith(TEXT_PREFIX)}
    return write_checkpoint(path, tensors, {"transformer": SETTINGS})


def projections(connectors: LTX2TextConnectors) -> dict[str, Tensor]:
    own = file_tensors(connectors)
    return {name: value for name, value in own.items() if name.startswith(TEXT_PREFIX)}


def packed_tensors(model: Any, connectors: LTX2TextConnectors) -> dict[str, Tensor]:
    tokenizer = torch.frombuffer(bytearray(tokenizer_json().encode()), dtype=torch.uint8)
    packed = language_tensors(model) | projections(connectors) | {"tokenizer_json": tokenizer}
    return {name: value.detach().clone() for name, value in packed.items()}


def metadata() -> dict[str, str]:
    settings = config().to_dict() | {"gemma_version": GEMMA_VERSION}
    return {"format": "pt", "gemma_config": json.dumps(settings)}


def write_packed(path: Path, model: Any, connectors: LTX2TextConnectors) -> Path:
    """The text encoder in one file, with its projections."""
    save_file(packed_tensors(model, connectors), path, metadata=metadata())
    return path


def write_folder(folder: Path, model: Any) -> Path:
    """Lightricks' folder: model and tokenizer in transformers' layout."""
    model.save_pretrained(folder)
    file = folder / "config.json"
    settings = json.loads(file.read_text()) | {"gemma_version": GEMMA_VERSION}
    file.write_text(json.dumps(settings))
    (folder / "tokenizer.json").write_text(tokenizer_json())
    return folder
