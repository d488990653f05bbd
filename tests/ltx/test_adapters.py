"""Public adapters by their metadata and by their files' names."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from helpers import PROJECT
from hypothesis import given
from hypothesis import strategies as st

from stdrc_core.ltx.adapters import KNOWN, Adapter, from_metadata, known_by_file, known_by_name
from stdrc_core.ltx.reference_layout import LayoutChoice
from stdrc_core.method.layout import Placement
from stdrc_core.method.reference import ReferenceTimestep

WORKFLOWS = PROJECT / "workflows" / "api"
FACE = "Best-Face-ID v1.0"
SHEET = "Best-Face-ID character sheet v1.0"
INGREDIENTS = "Ingredients IC-LoRA 0.9"
MSR_2_3 = "Licon MSR for LTX-2.3"
MSR_2_5 = "Licon MSR for LTX-2.5"

# Names as they lie in users' folders, and the adapter that each is.
FILES = {
    "Best_FaceID_v1.0_LoRA.safetensors": FACE,
    "ltx-2.3/faces/Best_FaceID_v1.0_LoRA.safetensors": FACE,
    "faces\\best_faceid_v1.0_lora_bf16.safetensors": FACE,
    "Best_FaceID_CharacterSheet_v1.0_LoRA.safetensors": SHEET,
    "ltxv/ltx2/ltx-2.3-22b-ic-lora-ingredients-0.9.safetensors": INGREDIENTS,
    "LTX-2.3\\LTX-2.3-Licon-MSR-V2.safetensors": MSR_2_3,
    "LTX2.3-Licon-MSR-test_version.safetensors": MSR_2_3,
    "Best_FaceID_v1.0_LoRA/other.safetensors": None,
    "my_style.safetensors": None,
    "": None,
}


@pytest.mark.parametrize("file_name", FILES)
def test_a_public_adapter_is_known_by_its_files_name(file_name: str):
    found = known_by_file(file_name)
    assert (found and found.name) == FILES[file_name]


def test_each_known_adapter_is_found_by_its_own_name_and_file():
    assert len({adapter.name for adapter in KNOWN}) == len(KNOWN)
    for adapter in KNOWN:
        assert known_by_name(adapter.name) is adapter
        for stem in adapter.file_stems:
            assert known_by_file(f"{stem}.safetensors") is adapter
    assert known_by_name("auto") is None


def test_best_face_id_says_how_to_begin():
    """As published: the prefix, CFG 3 to 5, and a reference guidance of 2 to 4 on top of it."""
    adapter = known_by_name(FACE)
    assert adapter.placement is Placement.OVERLAP_SOURCE_PHASE
    assert adapter.source_phase.at(0) == 2
    assert 3 <= adapter.text_scale <= 5
    assert 2 <= 1 + adapter.reference_scale - adapter.text_scale <= 4
    assert 'Begin the prompt with "ref_t2v: "' in adapter.advice
    assert "text_scale 4 and reference_scale 5" in adapter.advice
    assert adapter.advice.endswith(".")


def test_an_adapter_without_facts_has_no_advice():
    assert Adapter(name="a", placement=Placement.TASS).advice == ""


# As Licon's trainer writes them, whose tags have BFS's names and another scale.
LICONS = {
    "reference_slot_embedding_enabled": "true",
    "reference_slot_embedding_type": "fourier_mlp",
    "reference_slot_embedding_num_frequencies": "16",
    "reference_slot_embedding_hidden_dim": "256",
    "reference_slot_embedding_dim": "128",
    "reference_token_order": "prepend",
    "reference_slot_time_offsets": "pic1_based_negative_time",
    "reference_downscale_factor": "1",
}
METADATA = {
    "ltx-trainer's video_to_video": ({"reference_downscale_factor": "1"}, "overlap", True),
    "the same, scaled": ({"reference_downscale_factor": "2"}, "overlap", False),
    "ltx-trainer's flexible": (
        {"reference_spatial_scale_factor": "2", "reference_downscale_factor": "2"},
        "overlap",
        False,
    ),
    "scaled in time": ({"reference_temporal_scale_factor": "4"}, "overlap", False),
    "BFS's slots": ({"reference_slot_embedding_dim": "128"}, "overlap_source_phase", True),
    "Licon's MSR": (LICONS, "before_clip", True),
    "Licon's MSR, half said": ({"reference_token_order": "prepend"}, "before_clip", True),
    "Licon's MSR with voices": (
        LICONS | {"reference_audio_rope_layout": "absolute_image_slot_windows"},
        "before_clip",
        False,
    ),
}


@pytest.mark.parametrize("case", METADATA)
def test_metadata_of_other_trainers(case: str):
    metadata, placement, is_carried = METADATA[case]
    adapter = from_metadata(metadata | {"modelspec.title": "a face"})
    assert adapter is not None
    assert adapter.placement == placement
    assert adapter.is_carried is is_carried
    # What it does not get is told.
    assert is_carried or adapter.caveat


def test_licons_adapters_are_told_from_bfs():
    bfs = {key: value for key, value in LICONS.items() if "slot_embedding" in key}
    theirs, licons = from_metadata(bfs), from_metadata(LICONS)
    assert licons is known_by_name(MSR_2_5)
    assert (theirs.held_frames, licons.held_frames) == ((), (33, 25))
    assert (theirs.tags.scale, licons.tags.scale) == (1.0, 1 / 16)
    assert (theirs.tags.is_essential, licons.tags.is_essential) == (False, True)
    off = {"reference_slot_embedding_enabled": "False"}
    assert from_metadata(bfs | off).tags is None
    assert from_metadata(LICONS | off).tags is None
    voices = from_metadata(LICONS | {"reference_audio_token_order": "pic1_to_picN_then_target"})
    assert voices.held_frames == (25,)
    assert "audio references are not placed" in voices.caveat


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("reference_token_order", "append"),
        ("reference_slot_time_offsets", "none"),
        ("reference_slot_embedding_type", "table"),
        ("reference_downscale_factor", "2"),
    ],
)
def test_a_way_of_licons_that_is_not_known_is_refused(key: str, value: str):
    with pytest.raises(ValueError) as raised:
        from_metadata(LICONS | {key: value})
    message = str(raised.value)
    assert key in message and value in message
    assert "ComfyUI-LTX2.5-MSR" in message
    # The choice of placement decides where the sentence goes on.
    chosen = LayoutChoice(placement=Placement.TASS, reference_timestep=ReferenceTimestep.CLEAN)
    assert chosen.decide([LICONS | {key: value}], {}).is_doubtful
    with pytest.raises(ValueError, match="choose placement and reference_timestep instead of auto"):
        LayoutChoice().decide([LICONS | {key: value}], {})


def test_an_adapter_without_its_essential_tags_is_refused_in_one_sentence():
    with pytest.raises(ValueError) as raised:
        LayoutChoice().decide([LICONS], {})
    message = str(raised.value)
    assert MSR_2_5 in message and "before Apply TASS-RoPE Patch" in message
    assert message.count(". ") == 0 and message.endswith(".")
    # Those that only help are missed with a warning.
    decision = LayoutChoice().decide([{"reference_slot_embedding_dim": "128"}], {})
    assert decision.is_doubtful
    assert "tags were not found" in decision.sentence


@given(st.dictionaries(st.sampled_from(["modelspec.title", "ss_tag", "format"]), st.text()))
def test_metadata_without_a_word_on_references_say_nothing(metadata: dict[str, str]):
    assert from_metadata(metadata) is None


def nodes_of(workflow: dict[str, Any], class_type: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in workflow.values() if node["class_type"] == class_type]


@pytest.mark.parametrize("adapter", [KNOWN[0], KNOWN[1]], ids=lambda adapter: adapter.name)
def test_a_known_adapter_has_a_workflow_that_begins_as_it_wants(adapter: Adapter):
    own = []
    for path in WORKFLOWS.glob("*.json"):
        workflow = json.loads(path.read_text())
        loras = [lora["lora_name"] for lora in nodes_of(workflow, "LoraLoaderModelOnly")]
        if adapter in map(known_by_file, loras):
            own.append(workflow)
    (workflow,) = own
    (patch,) = nodes_of(workflow, "STDRCApplyTASSRoPE")
    assert patch["placement"] == "auto"
    (lora,) = (node["inputs"] for key, node in workflow.items() if key == patch["model"][0])
    assert known_by_file(lora["lora_name"]) is adapter
    positive, _ = nodes_of(workflow, "CLIPTextEncode")
    assert positive["text"].startswith(adapter.prompt_prefix)
    first, _ = nodes_of(workflow, "STDRCThreeStreamCFGGuider")
    scales = (first["text_scale"], first["reference_scale"])
    assert scales == (adapter.text_scale, adapter.reference_scale)
    fits = {reference["fit"] for reference in nodes_of(workflow, "STDRCEncodeReference")}
    assert ("native" in adapter.caveat) == (fits == {"native"})


def test_the_help_page_tells_what_each_adapter_wants():
    page = (PROJECT / "web" / "docs" / "STDRCApplyTASSRoPE.md").read_text()
    _, section = page.split("## Which adapter wants what\n")
    lines = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("| ")]
    _, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    for adapter in KNOWN:
        (row,) = (row for row in rows if row[0].startswith(f"{adapter.name}:"))
        file_name, placement, photo, prompt, scales, _ = row
        assert all(stem in file_name.lower() for stem in adapter.file_stems)
        assert adapter.placement.value in placement
        assert adapter.prompt_prefix in prompt
        for held in adapter.held_frames[:1]:
            assert f"`held_frames` {held}" in photo or adapter.own_reference
        if adapter.text_scale is not None:
            assert scales == f"{adapter.text_scale:g}, {adapter.reference_scale:g}"
    placements = " ".join(row[1] for row in rows)
    for placement in Placement:
        assert f"`{placement.value}`" in placements or not placement.turns_angles
    for row in rows:
        for name in re.findall("`(.+?)`", row[-1]):
            assert (WORKFLOWS / f"stdrc_ltx23_{name}.json").is_file()
