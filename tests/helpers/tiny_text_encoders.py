"""Tiny random text encoders of LTX-2: a Gemma 3, and connectors as files in ComfyUI's layout."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from torch import Tensor

from helpers import tiny_ltx
from stdrc_core.ltx.checkpoint import connector_key, write_checkpoint

GEMMA_WIDTH, GEMMA_LAYERS = 48, 6
NUM_STATES = GEMMA_LAYERS + 1  # the embedding is one too
WORDS = ("a", "red", "car", "turns", "left", "in", "rain")

# LTX-2.3 needs connectors as wide as its two transformers, LTX-2.0 as wide as Gemma.
SETTINGS = {
    "2.0": tiny_ltx.LTX_2_0,
    "2.3": tiny_ltx.LTX_2_3
    | {
        "connector_attention_head_dim": 24,
        "audio_connector_attention_head_dim": 8,
        "connector_apply_gated_attention": True,
    },
}


def build_connectors(version: str) -> LTX2TextConnectors:
    """diffusers' own, both modalities, every parameter random."""
    settings = SETTINGS[version]
    heads, layers = settings["connector_num_attention_heads"], settings["connector_num_layers"]
    head_dim = settings["connector_attention_head_dim"]
    gated = settings.get("connector_apply_gated_attention", False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        connectors = LTX2TextConnectors(
            caption_channels=GEMMA_WIDTH,
            text_proj_in_factor=NUM_STATES,
            video_connector_num_attention_heads=heads,
            video_connector_attention_head_dim=head_dim,
            video_connector_num_layers=layers,
            video_gated_attn=gated,
            audio_connector_num_attention_heads=heads,
            audio_connector_attention_head_dim=settings.get(
                "audio_connector_attention_head_dim", head_dim
            ),
            audio_connector_num_layers=layers,
            audio_gated_attn=gated,
            rope_type=settings["rope_type"],
            rope_double_precision=True,
            per_modality_projections=version != "2.0",
            video_hidden_dim=settings["cross_attention_dim"],
            audio_hidden_dim=settings["audio_cross_attention_dim"],
            proj_bias=version != "2.0",
        )
        for parameter in connectors.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return connectors.eval()


def file_tensors(connectors: LTX2TextConnectors) -> dict[str, Tensor]:
    """The connectors' weights under the single file's names."""
    tensors = {}
    for key, value in connectors.state_dict().items():
        part, _, rest = key.partition(".")
        match part.split("_"):
            case [modality, "connector"]:
                tensors[connector_key(rest, modality)] = value
            case ["text", "proj", "in"]:
                tensors[f"text_embedding_projection.aggregate_embed.{rest}"] = value
            case [modality, "text", "proj", "in"]:
                tensors[f"text_embedding_projection.{modality}_aggregate_embed.{rest}"] = value
    assert len(tensors) == len(connectors.state_dict())
    return tensors


def write_connectors(path: Path, version: str, connectors: LTX2TextConnectors) -> Path:
    """A single file of connectors and a tiny transformer."""
    settings = SETTINGS[version]
    transformer = tiny_ltx.file_tensors(tiny_ltx.build_tiny(settings))
    return write_checkpoint(path, transformer | file_tensors(connectors), {"transformer": settings})


def write_gemma(folder: Path) -> Path:
    """Gemma 3 with its vision tower, and a tokenizer, in transformers' layout."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, PreTrainedTokenizerFast

    special = ("<pad>", "<eos>", "<bos>", "<unk>")
    words = Tokenizer(
        WordLevel({word: i for i, word in enumerate((*special, *WORDS))}, unk_token="<unk>")
    )
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", special.index("<bos>"))]
    )
    names = {f"{name.strip('<>')}_token": name for name in special}
    PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
    config = Gemma3Config(
        text_config={
            "vocab_size": len(special) + len(WORDS),
            "hidden_size": GEMMA_WIDTH,
            "intermediate_size": 64,
            "num_hidden_layers": GEMMA_LAYERS,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 12,
            # Shorter than the longest caption; every third layer sees all of it.
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        model = Gemma3ForConditionalGeneration(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder
