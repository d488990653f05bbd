"""Which LTX a transformer is, in every form of its files, and what other weights are for."""

from __future__ import annotations

import pytest
import torch
from diffusers import LTXVideoTransformer3DModel
from helpers.tiny_ltx import LTX_2_5, VERSIONS, build_tiny, file_tensors
from helpers.told_weights import trained_for

from stdrc_core.ltx.adapters import KNOWN, known_by_name
from stdrc_core.ltx.base_mismatch import base_mismatches
from stdrc_core.ltx.base_version import (
    base_version,
    title,
    version_by_file,
    version_by_metadata,
)
from stdrc_core.ltx.checkpoint import TRANSFORMER_PREFIX
from stdrc_core.ltx.reference_layout import LayoutChoice
from stdrc_core.ltx.trained_for import TrainedFor

PUBLISHED = ("0.9", "2.0", "2.3", "2.5")


@pytest.mark.parametrize("name", VERSIONS)
def test_a_transformer_is_known_by_its_tensors(name: str):
    transformer, expected = build_tiny(VERSIONS[name]), name.split()[0]
    of_file = list(file_tensors(transformer))
    assert base_version(of_file) == expected
    short = [key.removeprefix(TRANSFORMER_PREFIX) for key in of_file]
    assert base_version(short) == expected
    assert base_version(["vae.encoder.conv_in.bias", *of_file]) == expected
    # diffusers' own names, and a module's parameters.
    assert base_version(key for key, _ in transformer.named_parameters()) == expected


def test_either_mark_of_2_5_is_enough():
    names = list(file_tensors(build_tiny(LTX_2_5)))
    assert base_version(name for name in names if "keyframes" not in name) == "2.5"
    biases = [name.replace("weight", "bias") for name in names if "ff.net" in name]
    assert base_version([*names, *biases]) == "2.5"


def test_ltx_video_is_older():
    with torch.device("meta"):
        transformer = LTXVideoTransformer3DModel(num_layers=1, num_attention_heads=2)
    assert base_version(transformer.state_dict()) == "0.9"


def test_other_files_are_no_ltx():
    assert base_version([]) is None
    block = f"{TRANSFORMER_PREFIX}transformer_blocks.0"
    assert base_version([f"{block}.attn1.to_q.lora_A.weight"]) is None
    assert base_version(["video_embeddings_connector.transformer_1d_blocks.0.attn1.to_q"]) is None


@pytest.mark.parametrize(
    ("file_name", "version"),
    [
        ("ltx-2.5-22b-distilled-lora-450-bf16.safetensors", "2.5"),
        ("LTX\\LTX-2.3-22b-distilled-lora-384.safetensors", "2.3"),
        ("loras/ltx-2-19b-ic-lora-union.safetensors", "2.0"),
        ("ltx-2.3-22b/mine.safetensors", None),
        ("my_face.safetensors", None),
        ("", None),
    ],
)
def test_lightricks_files_are_known_by_their_names(file_name: str, version: str | None):
    assert version_by_file(file_name) == version


@pytest.mark.parametrize("version", PUBLISHED)
def test_musubi_tuners_metadata_say_it(version: str):
    assert version_by_metadata({"ss_ltx_version": version}) == version


@pytest.mark.parametrize("metadata", [{}, {"ss_ltx_version": "None"}, {"format": "pt"}])
def test_other_metadata_say_nothing(metadata: dict[str, str]):
    assert version_by_metadata(metadata) is None


def weights_for(version: str | None) -> TrainedFor:
    return trained_for(base_version=version)


@pytest.mark.parametrize("recorded", [*PUBLISHED, None])
@pytest.mark.parametrize("loaded", [*PUBLISHED, None])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_weights_of_another_version_are_told_of(
    method: str, recorded: str | None, loaded: str | None
):
    """And nothing else of the decision changes."""
    weights = weights_for(recorded)
    metadata = [weights.lora_metadata()] if method == "lora" else []
    settings = {"stdrc": weights.facts()} if method == "full" else {}
    without = LayoutChoice().decide(metadata, settings)
    decision = LayoutChoice().decide(metadata, settings, loaded)
    assert decision.layout == without.layout
    assert decision.text_scale == 5.0
    if None in (recorded, loaded) or recorded == loaded:
        assert decision == without
        return
    assert decision.is_doubtful
    assert decision.sentence.startswith(without.sentence)
    said = decision.sentence.removeprefix(without.sentence)
    assert f"The model is {title(loaded)}, and" in said
    assert f"is for {title(recorded)}" in said
    assert "base.safetensors" in said
    assert said.endswith(".")


def test_each_lora_is_told_of_once_and_not_the_deciding_one_alone():
    loras = [weights_for("2.5").lora_metadata(), weights_for("2.3").lora_metadata()]
    others = {"ss_ltx_version": "2.0"}
    choice = LayoutChoice(
        adapter=known_by_name("Best-Face-ID v1.0"),
        lora_files=(
            "Best_FaceID_v1.0_LoRA.safetensors",
            "ltx-2.3-22b-distilled-lora-384.safetensors",
        ),
    )
    decision = choice.decide([*loras, others, others], {}, "2.5")
    said = decision.sentence.split("The model is LTX-2.5, and ")[1:]
    assert len(said) == 4
    for what, sentence in zip(
        ("Best-Face-ID v1.0", "the LoRA ltx-2.3-22b", "an ST-DRC LoRA", "a LoRA on it"),
        said,
        strict=True,
    ):
        assert sentence.startswith(what)


def test_a_known_adapter_says_what_it_was_trained_on():
    assert {adapter.base_version for adapter in KNOWN} <= {*PUBLISHED, None}
    best_face_id = known_by_name("Best-Face-ID v1.0")
    assert best_face_id.base_version == "2.3"
    common = {"lora_files": (), "lora_metadata": [], "settings": {}}
    assert base_mismatches("2.3", adapter=best_face_id, **common) == []
    (sentence,) = base_mismatches("2.5", adapter=best_face_id, **common)
    assert sentence.startswith("The model is LTX-2.5, and Best-Face-ID v1.0 is for LTX-2.3")


def test_what_cannot_be_read_is_told_of_elsewhere():
    damaged = [{"stdrc": "{"}, {"stdrc": '{"format_version": 9}'}]
    common = {"adapter": None, "lora_files": (), "settings": {"stdrc": "no object"}}
    assert base_mismatches("2.5", lora_metadata=damaged, **common) == []
