"""What weights say they were trained for: there and back, and what cannot be read."""

from __future__ import annotations

import json

import pytest
from helpers.one_sentence import assert_one_sentence
from hypothesis import given
from hypothesis import strategies as st

from stdrc_core.ltx.trained_for import TrainedFor, from_metadata, from_settings, without_facts
from stdrc_core.method.layout import Placement
from stdrc_core.method.reference import ReferenceTimestep

FACTS = {
    "format_version": 1,
    "placement": "overlap",
    "reference_timestep": "shared",
    "text_scale": 4.0,
    "reference_scale": 6.5,
    "base_model": "ltx-2.3.safetensors",
    "config_sha256": "0" * 64,
}

any_facts = st.builds(
    TrainedFor,
    placement=st.sampled_from(Placement),
    reference_timestep=st.sampled_from(ReferenceTimestep),
    text_scale=st.floats(0, 100),
    reference_scale=st.floats(0, 100),
    base_model=st.text(),
    config_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    base_version=st.none() | st.sampled_from(["2.3", "2.5", "9.9"]),
    max_photos=st.none() | st.integers(1, 4),
    first_frames=st.none() | st.booleans(),
    single_frames=st.none() | st.booleans(),
    base_loras=st.none() | st.lists(st.text(), min_size=1).map(tuple),
)
settings_of_others = st.dictionaries(st.sampled_from(["num_layers", "rope_type"]), st.integers())


@given(any_facts)
def test_a_lora_says_what_was_written(facts: TrainedFor):
    assert from_metadata(facts.lora_metadata() | {"modelspec.title": "a face"}) == facts


@given(any_facts, any_facts, settings_of_others)
def test_full_weights_say_it_twice_and_keep_their_bases_config(
    facts: TrainedFor, of_base: TrainedFor, settings: dict[str, int]
):
    base = {"transformer": settings, "vae": {"dims": 3}}
    once = json.loads(of_base.full_metadata(base)["config"])
    metadata = facts.full_metadata(once)
    config = json.loads(metadata["config"])
    assert from_metadata(metadata) == from_settings(config["transformer"]) == facts
    assert config | {"transformer": without_facts(config["transformer"])} == base


def test_the_file_holds_plain_words_and_numbers():
    facts = from_settings({"stdrc": FACTS})
    assert facts is not None
    assert json.loads(facts.lora_metadata()["stdrc"]) == FACTS
    assert json.loads(facts.full_metadata({})["config"]) == {"transformer": {"stdrc": FACTS}}


def test_the_bases_version_is_one_more_field_that_earlier_readers_pass_over():
    facts = from_settings({"stdrc": FACTS | {"base_version": "2.5"}})
    assert facts is not None
    assert facts.base_version == "2.5"
    told = json.loads(facts.lora_metadata()["stdrc"])
    assert told == FACTS | {"base_version": "2.5"}
    of_former = from_settings({"stdrc": FACTS})
    assert of_former is not None
    assert of_former.base_version is None
    # A field of a later version of this project is passed over here, too.
    assert from_settings({"stdrc": FACTS | {"fitted_on": "the moon"}}) == of_former


def test_other_weights_say_nothing():
    assert from_metadata({"format": "pt", "config": "{}"}) is None
    assert from_settings({"num_layers": 48}) is None


@pytest.mark.parametrize(
    ("facts", "parts"),
    [
        ("{", ["not JSON"]),
        ("[]", ["the whole was []"]),
        (json.dumps(FACTS | {"placement": "sideways"}), ["placement was 'sideways'", "'tass'"]),
        (json.dumps(FACTS | {"text_scale": -1}), ["text_scale was -1"]),
        (json.dumps(FACTS | {"text_scale": float("nan")}), ["text_scale was nan"]),
        (json.dumps(FACTS | {"base_loras": "face"}), ["base_loras was 'face'", "names of files"]),
        (json.dumps(FACTS | {"base_loras": []}), ["base_loras was []"]),
        (json.dumps(FACTS | {"base_version": 2.5}), ["base_version was 2.5", "needs text"]),
        (json.dumps({"placement": "tass"}), ["reference_timestep is missing", "base_model is"]),
        (json.dumps(FACTS | {"format_version": 3}), ["format_version 3", "update ST-DRC"]),
        (json.dumps({"format_version": 4}), ["format_version 4", "update ST-DRC"]),
    ],
)
def test_what_cannot_be_read_is_told_in_one_sentence(facts: str, parts: list[str]):
    with pytest.raises(ValueError) as raised:
        from_metadata({"stdrc": facts})
    message = str(raised.value)
    for part in ["metadata stdrc of the weights", *parts]:
        assert part in message
    assert message.endswith(".")
    assert "\n" not in message


def test_settings_are_checked_as_metadata_are():
    with pytest.raises(ValueError, match=r"placement was 'sideways'"):
        from_settings({"stdrc": FACTS | {"placement": "sideways"}})


def told(*slots: int, first: bool = False, single: bool = False, **facts: object) -> list[str]:
    trained = from_settings({"stdrc": FACTS | facts})
    assert trained is not None
    return trained.beyond(slots, has_first_frame=first, is_single_frame=single)


def test_a_run_that_asks_for_more_than_was_trained_is_told_each_thing_in_a_sentence():
    trained = {"max_photos": 4, "first_frames": False, "single_frames": False}
    assert told(0, 1, 2, 3, **trained) == []
    (photos,) = told(0, 1, 2, 3, 4, **trained)
    assert photos.startswith("reference has 5 photos and the weights were trained with 4 at most")
    (slot,) = told(0, 6, **trained)
    assert "a photo in slot 6 and the weights were trained with 4, in slots from 0 to 3" in slot
    (first,) = told(0, first=True, **trained)
    assert "first frame and the weights were trained without" in first
    assert len(told(0, 1, 2, 3, 4, first=True, single=True, **trained)) == 3
    had = trained | {"first_frames": True, "single_frames": True}
    assert told(0, first=True, single=True, **had) == []
    long = from_settings({"stdrc": FACTS | {"num_frames": 49}})
    asked = {"has_first_frame": False, "is_single_frame": False}
    (frames,) = long.beyond([0], **asked, num_frames=241)
    assert "has 241 frames at once and the weights were trained on clips of 49" in frames
    assert long.beyond([0], **asked, num_frames=49) == long.beyond([0], **asked) == []
    for sentence in (photos, slot, first, frames):
        assert_one_sentence(sentence)


def test_what_nobody_recorded_is_not_told():
    assert told(*range(9), first=True, single=True) == []
    assert told(max_photos=1) == []


def test_what_samples_were_like_is_one_sentence():
    trained = from_settings({"stdrc": FACTS | {"max_photos": 4, "first_frames": True}})
    assert trained.told == "Trained with up to 4 photos, first frames."
    assert from_settings({"stdrc": FACTS | {"single_frames": False, "max_photos": 1}}).told == (
        "Trained with one photo, no single frames."
    )
    assert from_settings({"stdrc": FACTS}).told == ""
