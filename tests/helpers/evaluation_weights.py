"""Random weights in the files and folders that evaluation weights are published as."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
)

from stdrc_core.evaluate.curricular_face import IR101
from stdrc_core.evaluate.metric_registry import AESTHETIC, CLIP_B32, CLIP_L14, CURRICULAR_FACE

_WIDTH = 32
_PROJECTION = 24


def write_clip(folder: Path, *, side_px: int = 64, seed: int = 0) -> Path:
    """A small CLIP as OpenAI publishes its own: model, processor and byte-pair tokenizer."""
    folder.mkdir(parents=True)
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>"]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *words]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    start, end = (tokens.index(word) for word in words)
    body = {"hidden_size": _WIDTH, "intermediate_size": 64, "num_hidden_layers": 2}
    text = CLIPTextConfig(
        **body,
        num_attention_heads=4,
        vocab_size=len(tokens),
        projection_dim=_PROJECTION,
        bos_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
    )
    vision = CLIPVisionConfig(
        **body,
        num_attention_heads=4,
        image_size=side_px,
        patch_size=16,
        projection_dim=_PROJECTION,
    )
    torch.manual_seed(seed)
    config = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=_PROJECTION
    )
    model = CLIPModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.normal_(0, 0.2)
    model.save_pretrained(folder)
    size = {"size": {"shortest_edge": side_px}, "crop_size": {"height": side_px, "width": side_px}}
    CLIPImageProcessorPil(**size).save_pretrained(folder)
    return folder


def write_weights(folder: Path) -> Path:
    """All that needs no library beyond transformers."""
    write_clip(folder / CLIP_B32.name, seed=1)
    write_clip(folder / CLIP_L14.name, seed=2)
    torch.manual_seed(3)
    torch.save(nn.Linear(_PROJECTION, 1).state_dict(), folder / AESTHETIC.name)
    torch.save(random_ir101(seed=4).state_dict(), folder / CURRICULAR_FACE.name)
    return folder


def random_ir101(seed: int, **options: bool) -> IR101:
    """Norms and slopes away from their defaults; 49 blocks whose sum stays of one size."""
    torch.manual_seed(seed)
    network = IR101(**options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.01)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 1, 2)
                nn.init.normal_(module.bias, 0, 0.01)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0, 0.5)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    for block in network.body:
        nn.init.uniform_(block.res_layer[-1].weight, 0.05, 0.15)
    return network.eval()
