"""The VAE from a single file: against diffusers' own, and what it says of other files."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLLTX2Video
from diffusers.loaders.single_file_utils import convert_ltx2_vae_to_diffusers
from safetensors.torch import load_file, save_file

from stdrc_core.ltx.checkpoint import vae_key, write_checkpoint
from stdrc_core.ltx.published import PUBLISHED
from stdrc_core.ltx.vae import VideoVAE, diffusers_config, load_vae
from stdrc_core.mini import config
from stdrc_core.mini_build.random_weights import build_vae


@pytest.fixture(scope="module")
def vae(mini_checkpoint: Path) -> VideoVAE:
    return load_vae(mini_checkpoint)


@pytest.fixture(scope="module")
def theirs(mini_checkpoint: Path) -> AutoencoderKLLTX2Video:
    """The same file through diffusers' own converter."""
    tensors = {k: v.float() for k, v in load_file(mini_checkpoint).items() if k.startswith("vae.")}
    model = build_vae().eval()
    model.load_state_dict(convert_ltx2_vae_to_diffusers(tensors), strict=True)
    return model


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.rand(2, 3, 9, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_miniatures_config_is_the_one_it_was_built_with():
    ours = diffusers_config(config.VAE_CONFIG)
    built = build_vae().config
    same = {
        key: (list(value) if isinstance(value, tuple) else value) for key, value in ours.items()
    }
    built = {
        key: (list(v) if isinstance(v, tuple) else v) for key, v in built.items() if key in same
    }
    assert same == built


def test_ltx_2_0_is_diffusers_default_model():
    """diffusers' defaults are LTX-2.0's sizes: the same keys and shapes must come out."""
    with torch.device("meta"):
        ours = AutoencoderKLLTX2Video(**diffusers_config(PUBLISHED["2.0"].vae)).state_dict()
        defaults = AutoencoderKLLTX2Video().state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in defaults.items()}


def test_ltx_2_3_has_the_published_names_and_shapes():
    """Names and shapes worked out by hand from ComfyUI's model of the same config."""
    with torch.device("meta"):
        model = AutoencoderKLLTX2Video(**diffusers_config(PUBLISHED["2.3"].vae))
    shapes = {vae_key(key, 4): tuple(t.shape[:2]) for key, t in model.state_dict().items()}
    conv = "conv.conv.weight"
    assert shapes["vae.encoder.conv_out.conv.weight"] == (129, 1024)
    assert shapes["vae.decoder.conv_in.conv.weight"] == (1024, 128)
    assert shapes[f"vae.decoder.up_blocks.1.{conv}"] == (1024 * 8 // 2, 1024)
    assert shapes[f"vae.decoder.up_blocks.3.{conv}"] == (512 * 8, 512)
    assert shapes[f"vae.decoder.up_blocks.5.{conv}"] == (512 * 2 // 2, 512)
    assert shapes[f"vae.decoder.up_blocks.7.{conv}"] == (256 * 4 // 2, 256)
    assert shapes["vae.decoder.up_blocks.8.res_blocks.3.conv1.conv.weight"] == (128, 128)
    assert shapes["vae.decoder.conv_out.conv.weight"] == (48, 128)
    layers = {name.split(".")[3]: 0 for name in shapes if ".up_blocks." in name}
    for block in layers:
        inside = f"vae.decoder.up_blocks.{block}.res_blocks."
        layers[block] = len({n.split(".")[5] for n in shapes if n.startswith(inside)})
    assert [layers[str(i)] for i in range(9)] == [2, 0, 2, 0, 4, 0, 6, 0, 4]


def test_a_small_ltx_2_3_decodes_to_the_right_size():
    """Four upsamplers of three kinds: time grows by 8, sides by 32."""
    small = PUBLISHED["2.3"].vae | {"decoder_base_channels": 8, "encoder_base_channels": 128}
    model = VideoVAE(AutoencoderKLLTX2Video(**diffusers_config(small)))
    assert model.decode(torch.randn(1, 128, 2, 2, 1)).shape == (1, 3, 9, 64, 32)


@torch.no_grad()
def test_latents_are_diffusers_own_normalised(
    vae: VideoVAE, theirs: AutoencoderKLLTX2Video, pixels: torch.Tensor
):
    latents = vae.encode(pixels)
    assert latents.shape == (2, 128, 2, 2, 3)
    expected = theirs.encode(pixels).latent_dist.mode()
    torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_statistics_are_taken_off_and_put_back(vae: VideoVAE, pixels: torch.Tensor):
    plain = vae.encode(pixels[:1])
    mean, std = torch.linspace(-1, 1, 128), torch.linspace(0.5, 2, 128)
    other = build_vae()
    other.load_state_dict(vae.vae.state_dict() | {"latents_mean": mean, "latents_std": std})
    other = VideoVAE(other)
    shape = (1, -1, 1, 1, 1)
    latents = other.encode(pixels[:1])
    torch.testing.assert_close(latents * std.view(shape) + mean.view(shape), plain)
    torch.testing.assert_close(other.decode(latents), vae.decode(plain), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_decoding_is_diffusers_own(vae: VideoVAE, theirs: AutoencoderKLLTX2Video):
    latents = torch.randn(2, 128, 2, 2, 3, generator=torch.Generator().manual_seed(1))
    decoded = vae.decode(latents)
    assert decoded.shape == (2, 3, 9, 64, 96)
    torch.testing.assert_close(decoded, theirs.decode(latents).sample, atol=1e-5, rtol=1e-5)


def test_gradients_reach_the_latents_and_never_the_weights(vae: VideoVAE):
    latents = torch.randn(1, 128, 1, 1, 1, requires_grad=True)
    vae.train()
    vae.decode(latents).square().sum().backward()
    assert latents.grad.abs().sum() > 0
    assert not vae.vae.training
    assert all(p.grad is None and not p.requires_grad for p in vae.parameters())


def test_a_file_of_the_vae_alone_is_the_same(mini_checkpoint: Path, tmp_path: Path, vae: VideoVAE):
    tensors = load_file(mini_checkpoint)
    alone = {k.removeprefix("vae."): v for k, v in tensors.items() if k.startswith("vae.")}
    path = tmp_path / "vae.safetensors"
    # Published files carry statistics that nobody reads.
    alone["per_channel_statistics.mean-of-stds"] = torch.zeros(128)
    save_file(alone, path, metadata={"config": json.dumps({"vae": config.VAE_CONFIG})})
    theirs = load_vae(path).vae.state_dict()
    assert all(torch.equal(theirs[key], value) for key, value in vae.vae.state_dict().items())


def test_a_diffusers_folder_is_the_same(tmp_path: Path, vae: VideoVAE):
    vae.vae.save_pretrained(tmp_path / "vae")
    for path in (tmp_path, tmp_path / "vae"):
        theirs = load_vae(path).vae.state_dict()
        assert all(torch.equal(theirs[key], each) for key, each in vae.vae.state_dict().items())
    (tmp_path / "vae" / "config.json").write_text('{"_class_name": "AutoencoderKLWan"}')
    with pytest.raises(ValueError, match="holds a AutoencoderKLWan; needs an AutoencoderKLLTX2"):
        load_vae(tmp_path)


def test_the_dtype_is_the_asked_one_and_latents_stay_float32(
    mini_checkpoint: Path, pixels: torch.Tensor, vae: VideoVAE
):
    half = load_vae(mini_checkpoint, torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    latents, reference = half.encode(pixels[:1]), vae.encode(pixels[:1])
    assert latents.dtype == torch.float32
    assert (
        torch.nn.functional.cosine_similarity(latents.flatten(), reference.flatten(), dim=0) > 0.99
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, c: t.pop("vae.encoder.conv_in.conv.weight"), "lacks 1 of the VAE's"),
        (lambda t, c: c.pop("vae"), "no VAE config"),
        (lambda t, c: c["vae"].update(_class_name="CausalDiffusionVAE"), "CausalDiffusionVAE"),
        (lambda t, c: c["vae"].update(timestep_conditioning=True), "timestep_conditioning"),
        (lambda t, c: c["vae"].update(decoder_blocks=[["res_x_y", 1]]), "decoder_blocks"),
        (lambda t, c: c["vae"].update(decoder_base_channels=16), "its own config needs"),
    ],
)
def test_another_model_is_one_clear_sentence(
    mini_checkpoint: Path, tmp_path: Path, change: Any, words: str
):
    tensors = {k: v for k, v in load_file(mini_checkpoint).items() if k.startswith("vae.")}
    metadata = {"vae": dict(config.VAE_CONFIG)}
    change(tensors, metadata)
    path = write_checkpoint(tmp_path / "other.safetensors", tensors, metadata)
    with pytest.raises(ValueError, match=words):
        load_vae(path)


def test_what_is_no_checkpoint_at_all(tmp_path: Path):
    with pytest.raises(ValueError, match="is not a file"):
        load_vae(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ValueError, match="could not be read"):
        load_vae(tmp_path / "text.safetensors")


@pytest.mark.parametrize("shape", [(1, 3, 8, 32, 32), (1, 3, 9, 40, 32), (1, 9, 3, 32, 32)])
def test_a_size_that_the_vae_cannot_take(vae: VideoVAE, shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="needs"):
        vae.encode(torch.zeros(shape))


def test_gradient_checkpointing_gives_the_same_gradients_and_keeps_less(vae: VideoVAE):
    latents = torch.randn(1, 128, 2, 3, 3, generator=torch.Generator().manual_seed(1))

    def decoded(model: VideoVAE) -> tuple[torch.Tensor, torch.Tensor, int]:
        weights = {p.data_ptr() for p in model.parameters()}
        kept: dict[int, int] = {}

        def keep(x: torch.Tensor) -> torch.Tensor:
            if x.data_ptr() not in weights:
                kept[x.data_ptr()] = x.numel()
            return x

        z = latents.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            pixels = model.decode(z)
        (gradient,) = torch.autograd.grad(pixels.square().sum(), z)
        return pixels.detach(), gradient, sum(kept.values())

    plain = decoded(vae)
    checkpointed = VideoVAE(copy.deepcopy(vae.vae))
    checkpointed.enable_gradient_checkpointing()
    pixels, gradient, num_kept = decoded(checkpointed)
    assert torch.equal(pixels, plain[0])
    assert torch.equal(gradient, plain[1])
    # The miniature's blocks have few layers between what is kept; LTX's own have many.
    assert num_kept < 0.8 * plain[2]
