"""The sizes of published files, against diffusers' and transformers' own networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.pipelines.ltx2.connectors import LTX2ConnectorTransformer1d

from stdrc_core.ltx.base_version import base_version
from stdrc_core.ltx.gemma4 import _PUBLISHED as GEMMA_4_12B
from stdrc_core.ltx.published import file_bytes, open_sizes, text_encoder_bytes

# config.json of google/gemma-3-12b-it.
GEMMA_3_12B = {
    "hidden_size": 3840,
    "intermediate_size": 15360,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
    "vocab_size": 262_208,
}


@pytest.mark.parametrize("version", ["2.0", "2.3", "2.5"])
def test_published_sizes_are_told_apart_and_by_the_files_names(version: str):
    """13 billion weights of the video branch, of a file of 39 to 40 GB without the text's parts."""
    sizes = open_sizes(Path(f"ltx-{version}"))
    assert base_version(sizes.tensors) == version
    assert 39e9 < file_bytes(sizes) < 41e9
    published = {"2.0": "ltx-2-19b-dev", "2.3": "ltx-2.3-22b-dev", "2.5": "ltx-2.5-22b-dev"}
    assert open_sizes(Path(f"{published[version]}.safetensors")) is sizes


@pytest.mark.parametrize("version", ["2.3", "2.5"])
def test_the_text_encoder_has_the_size_of_transformers_own(version: str):
    """Norms and scales are left out: less than a tenth of a thousandth."""
    transformers = pytest.importorskip("transformers", reason="has Gemma: pip install it")
    if version == "2.3":
        config = transformers.Gemma3Config(text_config=GEMMA_3_12B).get_text_config()
        kind = transformers.Gemma3TextModel
    else:
        config = transformers.Gemma4UnifiedConfig(text_config=dict(GEMMA_4_12B)).text_config
        kind = transformers.Gemma4UnifiedTextModel
    with torch.device("meta"):
        gemma = kind(config)
        connector = LTX2ConnectorTransformer1d(
            num_attention_heads=32, attention_head_dim=128, num_layers=8, gated_attention=True
        )
    sizes = open_sizes(Path(f"ltx-{version}"))
    layers = sum(p.numel() for p in gemma.layers.parameters())
    rest = sum(p.numel() for p in (*gemma.embed_tokens.parameters(), *connector.parameters()))
    rest += 4096 * 49 * 3840
    assert text_encoder_bytes(sizes) == pytest.approx(2 * (layers + rest), rel=1e-3)
    assert text_encoder_bytes(sizes, is_int8=True) == pytest.approx(layers + 2 * rest, rel=1e-3)
