"""LTX-2.3's video connector against diffusers' own, with a stand-in for Gemma."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from stdrc_core.checkpoint import write_checkpoint
from stdrc_core.mini import config
from stdrc_core.text import NUM_TOKENS, GemmaText, load_connector, load_gemma
from stdrc_core.train.prepare_command import MiniatureText

CHANNELS, NUM_LAYERS = 12, 3
PROJECTION = "text_embedding_projection.video_aggregate_embed"


@pytest.fixture(scope="module")
def checkpoint(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature with the projection that a file with a text encoder has."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(config.VIDEO_DIM, CHANNELS * NUM_LAYERS, generator=generator)
    tensors = load_file(mini_checkpoint) | {
        f"{PROJECTION}.weight": weight / 6,
        f"{PROJECTION}.bias": torch.randn(config.VIDEO_DIM, generator=generator),
    }
    tensors = {key: tensor.float() for key, tensor in tensors.items() if "vae." not in key}
    with safe_open(mini_checkpoint, framework="pt") as file:
        metadata = json.loads(file.metadata()["config"])
    return write_checkpoint(tmp_path_factory.mktemp("text") / "ltx.safetensors", tensors, metadata)


class Tokenizer:
    """Words to numbers, padded on the left."""

    pad_token = None
    eos_token = "<eos>"
    padding_side = "right"

    def __call__(self, texts: list[str], **options: object) -> dict[str, Tensor]:
        assert self.padding_side == "left"
        assert self.pad_token == "<eos>"
        ids = torch.zeros(1, options["max_length"], dtype=torch.long)
        mask = torch.zeros_like(ids)
        words = [1, *(2 + sum(map(ord, word)) % 50 for word in texts[0].split())]
        ids[0, -len(words) :] = torch.tensor(words)
        mask[0, -len(words) :] = 1
        return {"input_ids": ids, "attention_mask": mask}


def gemma(input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool) -> SimpleNamespace:
    table = torch.randn(NUM_LAYERS, 64, CHANNELS, generator=torch.Generator().manual_seed(1))
    return SimpleNamespace(hidden_states=tuple(layer[input_ids] for layer in table))


@pytest.mark.parametrize("caption", ["a red car", ""])
def test_the_embedding_is_what_diffusers_makes_of_it(checkpoint: Path, caption: str):
    connector = load_connector(checkpoint)
    ours = GemmaText("gemma", Tokenizer(), gemma, connector).encode(f" {caption}\n")
    theirs = LTX2TextConnectors(
        caption_channels=CHANNELS,
        text_proj_in_factor=NUM_LAYERS,
        video_connector_num_attention_heads=config.NUM_HEADS,
        video_connector_attention_head_dim=config.HEAD_DIM,
        video_connector_num_layers=config.NUM_CONNECTOR_LAYERS,
        video_gated_attn=True,
        audio_connector_num_attention_heads=config.NUM_HEADS,
        audio_connector_attention_head_dim=config.AUDIO_HEAD_DIM,
        audio_connector_num_layers=1,
        rope_type="split",
        per_modality_projections=True,
        video_hidden_dim=config.VIDEO_DIM,
        audio_hidden_dim=config.AUDIO_DIM,
        proj_bias=True,
    ).eval()
    theirs.video_connector.load_state_dict(connector.connector.state_dict())
    theirs.video_text_proj_in.load_state_dict(
        {"weight": connector.weight, "bias": connector.bias}, strict=True
    )
    tokens = Tokenizer()
    tokens.padding_side, tokens.pad_token = "left", "<eos>"
    batch = tokens([caption], max_length=NUM_TOKENS)
    hidden = torch.stack(gemma(**batch, output_hidden_states=True).hidden_states, dim=-1)
    with torch.no_grad():
        expected = theirs(hidden, batch["attention_mask"])[0][0]
    assert ours.shape == (NUM_TOKENS, config.VIDEO_DIM)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_the_miniature_takes_the_videos_part():
    embedding = MiniatureText().encode("a red car")
    assert embedding.shape == (32, config.VIDEO_DIM)
    assert not torch.equal(embedding, MiniatureText().encode(""))


def test_what_is_missing_is_named(mini_checkpoint: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=f"has no {PROJECTION}"):
        load_connector(mini_checkpoint)
    with pytest.raises(ValueError, match="could not be read"):
        load_connector(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="is no folder"):
        load_gemma(tmp_path / "gemma", mini_checkpoint, torch.device("cpu"))
