"""`generate --lora` with other trainers' adapters: known by metadata, by file name, or by hand."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from stdrc_core.generate.__main__ import make_parser
from stdrc_core.generate.models import decide_layout, name_models
from stdrc_core.generate.pipeline import Pipeline, Shot
from stdrc_core.generate.run import run
from stdrc_core.ltx.backbone import load_backbone
from stdrc_core.ltx.lora import merge_lora
from stdrc_core.ltx.reference_layout import ReferenceLayout
from stdrc_core.ltx.vae import load_vae
from stdrc_core.method.layout import Placement
from stdrc_core.method.source_phase import SourcePhase
from stdrc_core.mini.text import MiniatureText
from stdrc_core.uint8 import to_uint8
from stdrc_core.video import write_clip

BEST_FACE_ID = "Best_FaceID_v1.0_LoRA_bf16.safetensors"
OVERLAPPING = ReferenceLayout(placement=Placement.OVERLAP_SOURCE_PHASE)
FACTS = {
    "format_version": 1,
    "placement": "tass",
    "reference_timestep": "clean",
    "text_scale": 5.0,
    "reference_scale": 7.5,
    "base_model": "base.safetensors",
    "config_sha256": "0" * 64,
}
BLOCK = "diffusion_model.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def lora(tmp_path: Path, mini_checkpoint: Path):
    """Writes a LoRA of one layer of the miniature under a name and with metadata."""
    width = load_file(mini_checkpoint)[f"model.{BLOCK}.weight"].shape[0]
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"{BLOCK}.lora_A.weight": torch.randn(2, width, generator=generator),
        f"{BLOCK}.lora_B.weight": torch.randn(width, 2, generator=generator),
    }

    def write(name: str, metadata: dict[str, str] | None = None) -> Path:
        save_file(tensors, tmp_path / name, metadata)
        return tmp_path / name

    return write


def arguments(checkpoint: Path, *more: str | Path):
    given = ["--checkpoint", checkpoint, "--text-encoder", "miniature", *more]
    args = make_parser().parse_args([str(word) for word in given])
    name_models(args)
    return args


@pytest.mark.parametrize(
    ("name", "metadata", "layout", "scales"),
    [
        (BEST_FACE_ID, {}, OVERLAPPING, (4.0, 5.0)),
        (
            "tags.safetensors",
            {"reference_slot_embedding_enabled": "true"},
            ReferenceLayout(
                placement=Placement.OVERLAP_SOURCE_PHASE, source_phase=SourcePhase(source_id=1.0)
            ),
            (None, None),
        ),
        (
            "ic.safetensors",
            {"reference_downscale_factor": "1"},
            ReferenceLayout(placement=Placement.OVERLAP),
            (None, None),
        ),
        ("any.safetensors", {}, ReferenceLayout(), (None, None)),
    ],
)
def test_an_adapter_is_known_as_the_nodes_know_it(
    lora, mini_checkpoint: Path, name, metadata, layout: ReferenceLayout, scales
):
    decision = decide_layout(arguments(mini_checkpoint, "--lora", lora(name, metadata)))
    assert decision.layout == layout
    assert (decision.text_scale, decision.reference_scale) == scales
    assert decision.is_known is (name != "any.safetensors")


def test_an_adapter_named_by_hand_counts_and_a_choice_against_it_is_told(
    lora, mini_checkpoint: Path, caplog: pytest.LogCaptureFixture
):
    given = ["--lora", lora("renamed.safetensors"), "--adapter", "Best-Face-ID v1.0"]
    assert decide_layout(arguments(mini_checkpoint, *given)).layout == OVERLAPPING
    with caplog.at_level(logging.WARNING):
        decision = decide_layout(arguments(mini_checkpoint, *given, "--placement", "tass"))
    assert decision.layout.placement is Placement.TASS
    assert "Best-Face-ID v1.0 (chosen by name) was trained for" in caplog.text


# The miniature is an LTX-2.3.
OTHER_VERSIONS = {
    "ours": ("face.safetensors", {"stdrc": {"base_version": "2.5"}}, "an ST-DRC LoRA"),
    "published": ("ltx-2.5-22b-distilled-lora-450-bf16.safetensors", {}, "ltx-2.5-22b-distilled"),
    "musubi-tuner's": ("style.safetensors", {"ss_ltx_version": "2.5"}, "a LoRA on it"),
}


@pytest.mark.parametrize("case", OTHER_VERSIONS)
@pytest.mark.parametrize("version", ["2.5", "2.3"])
def test_a_lora_for_another_version_of_ltx_is_told_of(
    lora, mini_checkpoint: Path, caplog: pytest.LogCaptureFixture, case: str, version: str
):
    name, metadata, what = OTHER_VERSIONS[case]
    if version == "2.3":
        name = name.replace("2.5", "2.3")
    facts = {
        key: json.dumps(FACTS | {"base_version": version}) if key == "stdrc" else version
        for key in metadata
    }
    path = lora(name, facts)
    with caplog.at_level(logging.WARNING):
        decide_layout(arguments(mini_checkpoint, "--lora", path))
    said = [record.getMessage() for record in caplog.records if "LTX-2.5" in record.getMessage()]
    if version == "2.3":
        assert not said
        return
    (sentence,) = said
    assert "The model is LTX-2.3, and " in sentence
    assert what in sentence
    assert sentence.endswith("load LTX-2.5, or weights for LTX-2.3.")


def test_its_clip_has_its_phases_and_its_scales(lora, mini_checkpoint: Path, tmp_path: Path):
    """The same file as of frames sampled by hand with the adapter's layout, and not as of tass."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "person.png")
    adapter = lora(BEST_FACE_ID)
    asked = ["--reference", tmp_path / "person.png", "--prompt", "a person", "--steps", "2"]
    asked += ["--frames", "9", "--height", "64", "--width", "64", "--lora", adapter]
    (made,) = run(arguments(mini_checkpoint, *asked, "--out", tmp_path / "made"))
    backbone = load_backbone(mini_checkpoint, dtype=torch.float32).eval()
    merge_lora(backbone, adapter)
    text = MiniatureText()
    shot = Shot(num_frames=9, height=64, width=64, num_steps=2)
    shot = shot.guided(text_scale=4.0, reference_scale=5.0)
    by_hand = {}
    for layout in (OVERLAPPING, ReferenceLayout()):
        pipeline = Pipeline(
            backbone=backbone,
            vae=load_vae(mini_checkpoint, torch.float32),
            empty_context=text.encode(""),
            layout=layout,
        )
        photo = torch.from_numpy(noise)[None].float() / 255
        frames = to_uint8(pipeline(photo, text.encode("a person"), shot))
        write_clip(tmp_path / f"{layout.placement}.mp4", frames, shot.fps)
        by_hand[layout] = (tmp_path / f"{layout.placement}.mp4").read_bytes()
    assert made.read_bytes() == by_hand[OVERLAPPING]
    assert made.read_bytes() != by_hand[ReferenceLayout()]


@pytest.mark.parametrize(
    ("name", "metadata", "part"),
    [
        ("ltx-2.3-22b-ic-lora-ingredients-0.9.safetensors", {}, "use ComfyUI's nodes"),
        ("LTX-2.3-Licon-MSR-V2.safetensors", {}, "use ComfyUI's nodes"),
        ("msr.safetensors", {"reference_token_order": "prepend"}, "learned slot tags"),
    ],
)
def test_adapters_of_held_photos_are_refused_by_name_and_a_choice_of_placement_is_not(
    lora, mini_checkpoint: Path, name: str, metadata: dict[str, str], part: str
):
    path = lora(name, metadata)
    with pytest.raises(ValueError, match=part) as raised:
        decide_layout(arguments(mini_checkpoint, "--lora", path))
    assert "Ingredients IC-LoRA" in str(raised.value) or "Licon MSR" in str(raised.value)
    chosen = arguments(mini_checkpoint, "--lora", path, "--placement", "tass")
    assert decide_layout(chosen).is_doubtful
