"""Learned slot tags: the formula of their trainers, and files that do not hold them whole."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stdrc_core.ltx.adapters import known_by_name
from stdrc_core.ltx.reference_layout import Decision, ReferenceLayout
from stdrc_core.ltx.slot_tags import read_slot_tags
from stdrc_core.method.layout import Placement

L, HIDDEN, C = 16, 12, 8
PREFIX = "diffusion_model.reference_slot_embedding."


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(1 + 2 * L, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, C))


def tensors(prefix: str = PREFIX) -> dict[str, Tensor]:
    """A file's: octaves of frequencies, and torch's own names of the network's weights."""
    named = {f"net.{name}": value for name, value in network().state_dict().items()}
    named["frequencies"] = 2.0 ** torch.arange(L)
    return {prefix + name: value.contiguous() for name, value in named.items()}


@pytest.mark.parametrize("scale", [1.0, 1 / 16])
@pytest.mark.parametrize("prefix", [PREFIX, "reference_slot_embedding."])
def test_a_tag_is_the_network_of_the_slots_fourier_features(
    tmp_path: Path, scale: float, prefix: str
):
    path = tmp_path / "lora.safetensors"
    save_file(tensors(prefix) | {"diffusion_model.a.lora_A.weight": torch.zeros(1)}, path)
    tags = read_slot_tags(path, scale)
    got = tags.of([1.0, 2.0, 5.0])
    for index, tag in zip((1, 2, 5), got, strict=True):
        u = scale * index
        features = [
            u,
            *(math.sin(u * 2**i) for i in range(L)),
            *(math.cos(u * 2**i) for i in range(L)),
        ]
        with torch.no_grad():
            expected = network()(torch.tensor(features))
        assert torch.allclose(tag, expected, atol=1e-4)
    assert not torch.allclose(got[0], got[1], atol=1e-3)


def test_a_half_precision_file_is_computed_in_float32(tmp_path: Path):
    save_file({key: value.bfloat16() for key, value in tensors().items()}, tmp_path / "lora")
    assert read_slot_tags(tmp_path / "lora", 1.0).of([1.0]).dtype == torch.float32


def test_a_file_without_tags_has_none(tmp_path: Path):
    save_file({"diffusion_model.a.lora_A.weight": torch.zeros(1)}, tmp_path / "lora")
    assert read_slot_tags(tmp_path / "lora", 1.0) is None


def test_tags_that_are_not_whole_or_do_not_fit_are_refused(tmp_path: Path):
    path = tmp_path / "lora.safetensors"
    part = tensors()
    del part[PREFIX + "net.2.bias"]
    save_file(part, path)
    with pytest.raises(ValueError, match=r"slot tags without net\.2\.bias; needs all of them"):
        read_slot_tags(path, 1.0)
    save_file(tensors() | {PREFIX + "frequencies": torch.ones(L + 1)}, path)
    with pytest.raises(ValueError, match=r"do not fit each other \(frequencies \[17\]"):
        read_slot_tags(path, 1.0)
    path.write_bytes(b"no safetensors")
    with pytest.raises(ValueError, match="could not be read"):
        read_slot_tags(path, 1.0)


SHAPES = {
    "a still with tass": ("tass", None, 1, None),
    "a clip with tass": (
        "tass",
        None,
        2,
        r"\[1, 128, 2, 4, 4\]; with placement tass .* one latent",
    ),
    "a clip of the video's length": ("overlap", None, 5, None),
    "a clip longer than the video": ("overlap", None, 6, "6 latent frames, latent_image 5"),
    "a held photo before the clip": ("before_clip", None, 9, None),
    "33 frames for Licon": ("before_clip", "Licon MSR for LTX-2.5", 5, None),
    "25 frames for Licon": ("before_clip", "Licon MSR for LTX-2.5", 4, None),
    "a still for Licon": ("before_clip", "Licon MSR for LTX-2.5", 1, "held_frames .* to 33 or 25"),
    "a whole clip of a sheet": ("overlap", "Ingredients IC-LoRA 0.9", 5, None),
    "a still of a sheet": ("overlap", "Ingredients IC-LoRA 0.9", 1, "the whole clip: .* to 0"),
    "Licon's clip": ("overlap", "Licon MSR for LTX-2.3", 4, None),
    "a still for Licon's clip": ("overlap", "Licon MSR for LTX-2.3", 1, "node Licon MSR"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_how_long_a_reference_may_be(case: str):
    placement, name, num_frames, message = SHAPES[case]
    decision = Decision(
        layout=ReferenceLayout(placement=Placement(placement)),
        sentence="",
        adapter=known_by_name(name) if name else None,
    )
    shape = [1, 128, num_frames, 4, 4]
    if message is None:
        decision.check_frames(shape, 5)
        return
    with pytest.raises(ValueError, match=message) as raised:
        decision.check_frames(shape, 5)
    assert str(raised.value).startswith("reference has")
    assert str(raised.value).endswith(".") and ". " not in str(raised.value).replace("2.5", "")
