"""Which version of LTX a VAE's file is for, and a sentence where it is not the transformer's."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLLTX2Video
from helpers import tiny_ltx
from safetensors.torch import save_file

from stdrc_core.ltx.checkpoint import vae_key
from stdrc_core.ltx.file_versions import (
    is_diffusion_vae,
    require_same_version,
    transformer_version,
    vae_version,
    version_by_name,
)
from stdrc_core.ltx.published import PUBLISHED
from stdrc_core.ltx.vae import diffusers_config


@cache
def names_of(is_2_0: bool) -> dict[str, torch.Tensor]:
    """A file with the tensors' names of a published VAE, each of one number."""
    with torch.device("meta"):
        config = PUBLISHED["2.0" if is_2_0 else "2.3"].vae
        vae = AutoencoderKLLTX2Video(**diffusers_config(config))
    num_blocks = len(vae.encoder.down_blocks)
    return {vae_key(key, num_blocks): torch.zeros(1) for key in vae.state_dict()}


def diffusion(path: Path) -> Path:
    """The layer that takes the noise in, without metadata."""
    save_file({"decoder.conv_in_x_t.weight": torch.zeros(1)}, path)
    return path


def stated(version: str) -> dict[str, str]:
    return {"model_version": version}


@pytest.mark.parametrize(
    ("metadata", "name", "is_2_0", "expected"),
    [
        (stated("2.5.0"), "a", False, "2.5"),
        (stated("2.4-rc2"), "a", False, "2.5"),
        (stated("2.3.rc1"), "a", False, "2.3"),
        (stated("2.3.rc1"), "ltx-2.5-video-vae-conv-bf16", False, "2.3"),
        ({}, "ltx-2.5-video-vae-conv-bf16", False, "2.5"),
        ({}, "LTX23_video_vae_bf16", False, "2.3"),
        # The blocks of LTX-2.3 and LTX-2.5 are the same, those of LTX-2.0 are others.
        ({}, "vae", False, None),
        ({}, "vae", True, "2.0"),
        (stated("of my own"), "vae", True, "2.0"),
    ],
)
def test_a_vae_is_known_by_what_its_file_says(
    tmp_path: Path, metadata: dict[str, str], name: str, is_2_0: bool, expected: str
):
    path = tmp_path / f"{name}.safetensors"
    save_file(names_of(is_2_0), path, metadata=metadata)
    assert vae_version(path) == expected
    assert not is_diffusion_vae(path)


def test_a_diffusion_decoder_is_of_2_5(tmp_path: Path):
    path = diffusion(tmp_path / "vae.safetensors")
    assert vae_version(path) == "2.5"
    assert is_diffusion_vae(path)


def test_a_folder_is_known_by_its_transformer(tmp_path: Path):
    tiny_ltx.build_tiny(tiny_ltx.LTX_2_5).save_pretrained(tmp_path / "transformer")
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text('{"_class_name": "AutoencoderKLLTX2Video"}')
    save_file({"x": torch.zeros(1)}, tmp_path / "vae" / "model.safetensors")
    assert vae_version(tmp_path) == vae_version(tmp_path / "vae") == "2.5"
    assert transformer_version(tmp_path) == "2.5"


@pytest.mark.parametrize("name", ["ltx-2.5-22b-dev-transformer-bf16.safetensors", "my_vae", "vae"])
def test_other_names_tell_nothing(name: str):
    assert version_by_name(name) is None


@pytest.mark.parametrize("version", ["2.0", "2.3", "2.5"])
@pytest.mark.parametrize("of_vae", ["2.3.0", "2.5.0", "unknown", "diffusion"])
def test_every_mixture_is_one_sentence(tmp_path: Path, version: str, of_vae: str):
    checkpoint = tiny_ltx.write_tiny(tmp_path / "a.safetensors", tiny_ltx.VERSIONS[version])
    path = tmp_path / "b.safetensors"
    if of_vae == "diffusion":
        diffusion(path)
    else:
        save_file(names_of(False), path, metadata={} if of_vae == "unknown" else stated(of_vae))
    known = "2.5" if of_vae == "diffusion" else of_vae.removesuffix(".0")
    if known in ("unknown", version):
        require_same_version(checkpoint, path)
        return
    with pytest.raises(ValueError) as raised:
        require_same_version(checkpoint, path)
    message = str(raised.value)
    start = f"vae {path} is of LTX-{known}, checkpoint {checkpoint} is LTX-{version}; needs a VAE"
    assert message.startswith(start)
    assert ("ltx-2.5-video-vae-conv-bf16" in message) == (version == "2.5")


def test_one_file_for_both_is_never_a_mixture(tmp_path: Path):
    path = tiny_ltx.write_tiny(tmp_path / "a.safetensors", tiny_ltx.LTX_2_5)
    require_same_version(path, None)
    require_same_version(path, path)
