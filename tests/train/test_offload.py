"""Offload: the numbers stay as they are, and what waits for the backward pass is elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import mini_run
from pydantic import ValidationError
from torch import Tensor
from torch.autograd import graph

from stdrc_core.ltx.vae import load_vae
from stdrc_core.train import offload
from stdrc_core.train.assemble import assemble
from stdrc_core.train.draws import draw

CPU = torch.device("cpu")


@pytest.mark.parametrize("method", ["lora", "full"])
def test_gradients_are_bit_for_bit_those_without(
    method: str, tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    gradients, losses = [], []
    for offloads in (False, True):
        model = {"checkpoint": mini_checkpoint, "dtype": "float32", "offload": offloads}
        config = mini_run.config(
            tmp_path, mini_checkpoint, mini_cache, model=model, trainable={"method": method}
        )
        parts = assemble(config, CPU)
        samples = [parts.samples[i] for i in range(2)]
        draws = [
            draw(sample, (0, 0, i), config.objective, config.reference)
            for i, sample in enumerate(samples)
        ]
        loss = parts.objective(parts.model, samples, draws).total
        loss.backward()
        losses.append(loss.detach())
        trained = {n: p for n, p in parts.model.named_parameters() if p.grad is not None}
        gradients.append({name: p.grad for name, p in trained.items()})
    assert torch.equal(*losses)
    plain, offloaded = gradients
    assert plain.keys() == offloaded.keys() != set()
    assert any(gradient.any() for gradient in plain.values())
    for name, gradient in plain.items():
        assert torch.equal(offloaded[name], gradient), name


def test_of_a_block_its_input_goes_to_the_host_and_nothing_that_all_blocks_share(
    monkeypatch: pytest.MonkeyPatch,
):
    moved: list[Tensor] = []

    class Noted(graph.save_on_cpu):
        def __init__(self, **options: bool) -> None:
            super().__init__(**options)
            to_host = self.pack_hook
            self.pack_hook = lambda saved: (moved.append(saved.detach()), to_host(saved))[1]

    monkeypatch.setattr(offload, "save_on_cpu", Noted)
    shared = torch.randn(3, 4, requires_grad=True)
    hidden = first = torch.randn(3, 4, requires_grad=True)
    inputs = []
    for _ in range(3):
        inputs.append(hidden.detach().clone())
        hidden = offload.checkpoint_on_host(lambda h, s: (h * s).tanh(), hidden, shared)
    assert len(moved) == 3
    assert all(map(torch.equal, moved, inputs))
    hidden.sum().backward()
    x, s = (value.detach().clone().requires_grad_() for value in (first, shared))
    (((x * s).tanh() * s).tanh() * s).tanh().sum().backward()
    assert torch.equal(first.grad, x.grad)
    assert torch.equal(shared.grad, s.grad)


def test_a_parked_vae_encodes_and_decodes_as_before(mini_checkpoint: Path):
    plain, parked = load_vae(mini_checkpoint), load_vae(mini_checkpoint)
    offload.park(parked.vae.encoder, CPU)
    offload.park(parked.vae.decoder, CPU)
    pixels, latent = torch.rand(1, 3, 9, 64, 64) * 2 - 1, torch.randn(1, 128, 2, 2, 2)
    with torch.no_grad():
        assert torch.equal(parked.encode(pixels), plain.encode(pixels))
        assert torch.equal(parked.decode(latent), plain.decode(latent))


def test_offload_needs_checkpointing(tmp_path: Path):
    with pytest.raises(ValidationError, match=r"offload was true .*gradient_checkpointing false"):
        mini_run.config(
            tmp_path, tmp_path, tmp_path, model={"offload": True, "gradient_checkpointing": False}
        )
