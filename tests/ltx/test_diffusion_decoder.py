"""LTX-2.5's VAE with the diffusion decoder: against diffusers' own, and its attention by brute
force."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from helpers import tiny_diffusion_vae
from torch import Tensor

from stdrc_core.ltx.neighborhood import neighborhood_attention
from stdrc_core.ltx.vae import VideoVAE, load_vae


def by_brute_force(
    query: Tensor, key: Tensor, value: Tensor, kernel: tuple[int, int, int]
) -> Tensor:
    """Query by query, over the positions that its window names."""
    output = torch.empty_like(value)
    sizes = query.shape[1:4]
    for place in itertools.product(*map(range, sizes)):
        window = []
        for i, size, length in zip(place, sizes, kernel, strict=True):
            length = min(size, length)
            start = min(max(i - length // 2, 0), size - length)
            window.append(slice(start, start + length))
        keys, values = (part[:, *window].flatten(1, 3) for part in (key, value))
        scores = torch.einsum("bhd,bnhd->bhn", query[:, *place], keys)
        output[:, *place] = torch.einsum("bhn,bnhd->bhd", scores.softmax(-1), values)
    return output


@pytest.mark.parametrize(
    ("sizes", "kernel"),
    [
        ((5, 9, 10), (3, 7, 7)),
        ((13, 12, 17), (11, 11, 11)),
        # Smaller than the window, in one axis and in all.
        ((1, 9, 9), (11, 11, 11)),
        ((2, 3, 4), (3, 5, 5)),
        # An even window.
        ((6, 9, 3), (4, 2, 2)),
    ],
)
def test_each_query_sees_its_window(sizes: tuple[int, ...], kernel: tuple[int, int, int]):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(2, *sizes, 2, 8, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    got = neighborhood_attention(query, key, value, kernel)
    torch.testing.assert_close(got, by_brute_force(query, key, value, kernel))


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> VideoVAE:
    tensors = tiny_diffusion_vae.file_tensors(*tiny_diffusion_vae.build())
    return load_vae(tiny_diffusion_vae.write(tmp_path_factory.mktemp("v") / "a.st", tensors))


@torch.no_grad()
def test_pixels_are_those_of_diffusers_own_decoder(tmp_path: Path):
    """With windows no larger than the grid; diffusers refuses others."""
    theirs, decoder = tiny_diffusion_vae.build(tiny_diffusion_vae.SMALL)
    tensors = tiny_diffusion_vae.file_tensors(theirs, decoder)
    path = tiny_diffusion_vae.write(tmp_path / "a.safetensors", tensors, tiny_diffusion_vae.SMALL)
    latents = torch.randn(1, 128, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    pixels = load_vae(path).decode(latents)
    assert pixels.shape == (1, 3, 9, 96, 96)
    shape = (1, -1, 1, 1, 1)
    raw = latents * theirs.latents_std.view(shape) + theirs.latents_mean.view(shape)
    expected = decoder.decode(raw, generator=torch.Generator().manual_seed(0)).sample
    torch.testing.assert_close(pixels, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_clip_in_a_batch_is_the_clip_alone(vae: VideoVAE):
    """The noise of the one step is the same for every clip."""
    latents = torch.randn(2, 128, 1, 1, 2, generator=torch.Generator().manual_seed(1))
    together = vae.decode(latents)
    alone = torch.cat([vae.decode(each) for each in latents.split(1)])
    torch.testing.assert_close(together, alone)
    assert (together[0] - together[1]).std() > 1e-3


@torch.no_grad()
def test_latents_are_those_of_diffusers_own_encoder(vae: VideoVAE):
    theirs, _ = tiny_diffusion_vae.build()
    pixels = torch.rand(1, 3, 9, 64, 96, generator=torch.Generator().manual_seed(2)) * 2 - 1
    shape = (1, -1, 1, 1, 1)
    expected = theirs.encode(pixels).latent_dist.mode()
    expected = (expected - theirs.latents_mean.view(shape)) / theirs.latents_std.view(shape)
    torch.testing.assert_close(vae.encode(pixels), expected, atol=1e-5, rtol=1e-5)
    assert vae.decodes_by_diffusion
    everything = [*vae.parameters(), *vae.buffers()]
    assert not any(value.is_meta for value in everything)


def test_gates_and_previews_of_distilled_files(vae: VideoVAE, tmp_path: Path):
    """A gate is a factor of its layer's outputs; taken out of the layer, nothing is changed."""
    tensors = tiny_diffusion_vae.file_tensors(*tiny_diffusion_vae.build())
    generator = torch.Generator().manual_seed(4)
    layers = {"attn.proj": "gate_msa", "mlp.w_down": "gate_mlp", "context_proj": "gate_ctx"}
    for name in [name for name in tensors if name.startswith("decoder.diff_blocks.")]:
        for layer, gate in layers.items():
            if name.endswith(f"{layer}.weight"):
                block = name.removesuffix(f".{layer}.weight")
                factor = torch.rand(len(tensors[name]), generator=generator) + 0.5
                tensors[f"{block}.{gate}"] = factor
                for part in ("weight", "bias"):
                    if (key := f"{block}.{layer}.{part}") in tensors:
                        own = tensors[key]
                        tensors[key] = own / factor.reshape(-1, *[1] * (own.ndim - 1))
    tensors["decoder.coarse_head.weight"] = torch.zeros(3)
    assert any("gate_ctx" in name for name in tensors)
    gated = load_vae(tiny_diffusion_vae.write(tmp_path / "gated.safetensors", tensors))
    state = vae.state_dict()
    for key, value in gated.state_dict().items():
        torch.testing.assert_close(value, state[key], atol=1e-6, rtol=1e-5)


def test_a_damaged_decoder_is_one_sentence(tmp_path: Path):
    tensors = tiny_diffusion_vae.file_tensors(*tiny_diffusion_vae.build())
    del tensors["decoder.diff_blocks.1.mlp.w_up.weight"]
    with pytest.raises(ValueError, match=r"diff_blocks\.1\.mlp\.w_up\.weight; needs the file as"):
        load_vae(tiny_diffusion_vae.write(tmp_path / "a.safetensors", tensors))
