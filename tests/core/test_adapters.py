"""Public adapters by their metadata and by their files' names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stdrc_core.adapters import KNOWN, Adapter, from_metadata, known_by_file, known_by_name
from stdrc_core.layout import Placement

FACE = "Best-Face-ID v1.0"
SHEET = "Best-Face-ID character sheet v1.0"

# Names as they lie in users' folders, and the adapter that each is.
FILES = {
    "Best_FaceID_v1.0_LoRA.safetensors": FACE,
    "ltx-2.3/faces/Best_FaceID_v1.0_LoRA.safetensors": FACE,
    "faces\\best_faceid_v1.0_lora_bf16.safetensors": FACE,
    "Best_FaceID_CharacterSheet_v1.0_LoRA.safetensors": SHEET,
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
        assert known_by_file(f"{adapter.file_stem}.safetensors") is adapter
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


METADATA = {
    "ltx-trainer's video_to_video": ({"reference_downscale_factor": "1"}, "overlap", True),
    "the same, scaled": ({"reference_downscale_factor": "2"}, "overlap", False),
    "ltx-trainer's flexible": (
        {"reference_spatial_scale_factor": "2", "reference_downscale_factor": "2"},
        "overlap",
        False,
    ),
    "scaled in time": ({"reference_temporal_scale_factor": "4"}, "overlap", False),
    "slot tags": ({"reference_slot_embedding_dim": "128"}, "overlap_source_phase", False),
}


@pytest.mark.parametrize("case", METADATA)
def test_metadata_of_other_trainers(case: str):
    metadata, placement, is_carried = METADATA[case]
    adapter = from_metadata(metadata | {"modelspec.title": "a face"})
    assert adapter is not None
    assert adapter.placement == placement
    assert adapter.is_carried is is_carried
    # What it does not get is told.
    assert bool(adapter.caveat) is not is_carried


@given(st.dictionaries(st.sampled_from(["modelspec.title", "ss_tag", "format"]), st.text()))
def test_metadata_without_a_word_on_references_say_nothing(metadata: dict[str, str]):
    assert from_metadata(metadata) is None
