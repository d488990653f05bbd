"""A vision-language model of a few hundred weights that recites one sentence, in transformers' own
files: pictures take their place in its context, and each word is followed by its next one."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

_PATCH_PX, _SIDE_PX = 8, 32
_TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}<answer>"
)


def write_tiny_vlm(folder: Path, sentence: str) -> Path:
    """A LLaVA whose answer to anything is `sentence`, of words that are all different."""
    words = sentence.split()
    chain = ["<answer>", *words, "<end>"]
    vocabulary = {word: i for i, word in enumerate(["<unknown>", "<image>", *chain])}
    core = Tokenizer(WordLevel(vocabulary, unk_token="<unknown>"))
    core.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unknown>", eos_token="<end>", pad_token="<end>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<answer>"]})
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": _SIDE_PX}, crop_size={"height": _SIDE_PX, "width": _SIDE_PX}
        ),
        tokenizer=tokenizer,
        patch_size=_PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    )
    model = _model(vocabulary, chain)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _model(vocabulary: dict[str, int], chain: list[str]) -> LlavaForConditionalGeneration:
    size = 8 * (len(vocabulary) // 8 + 1)
    text = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=size,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        eos_token_id=vocabulary["<end>"],
        pad_token_id=vocabulary["<end>"],
    )
    vision = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=1,
        image_size=_SIDE_PX,
        patch_size=_PATCH_PX,
    )
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=vocabulary["<image>"]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(config)
    # Layers that add nothing leave each word to itself, and the head names the one that follows.
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")) and "language_model" in name:
            value.zero_()
        elif name.endswith("embed_tokens.weight"):
            value.copy_(torch.eye(*value.shape))
        elif name.endswith("lm_head.weight"):
            value.zero_()
            for word, after in itertools.pairwise(chain):
                value[vocabulary[after], vocabulary[word]] = 1
    model.load_state_dict(state)
    return model
