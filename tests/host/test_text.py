"""A caption's embedding from Gemma's hidden states: the trainer's against the host's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import tiny_text_encoders
from helpers.comfyui import Worker

from stdrc_core.ltx.connector import load_connector

pytestmark = pytest.mark.host


@pytest.mark.parametrize("num_words", [1, 40, 300])
@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_hidden_states_become_the_hosts_context(
    host: Worker, tmp_path: Path, version: str, num_words: int
) -> None:
    path = tiny_text_encoders.write_connectors(
        tmp_path / "ltx.safetensors", version, tiny_text_encoders.build_connectors(version)
    )
    length, width = 1024, tiny_text_encoders.GEMMA_WIDTH
    generator = torch.Generator().manual_seed(num_words)
    hidden = (
        torch.randn(1, length, width, tiny_text_encoders.NUM_STATES, generator=generator) * 3 + 1
    )
    mask = (torch.arange(length) >= length - num_words).long()[None]
    connector = load_connector(path)
    with torch.no_grad():
        ours = connector(hidden, mask)
    # The host has the layers first.
    theirs = host("text.context", path=str(path), hidden=hidden.movedim(-1, 1), mask=mask)
    assert theirs.shape[1] == length
    torch.testing.assert_close(ours, theirs[..., : ours.shape[-1]], atol=1e-5, rtol=1e-5)
