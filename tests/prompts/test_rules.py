"""The rules of both prompts: what breaks them, and that repair keeps them all and is done once."""

from __future__ import annotations

import re

import pytest
from helpers.drawn_prompts import Drawn, jumbles, sentences
from hypothesis import given, settings
from hypothesis import strategies as st

from stdrc_core.prompts.gender import Gender
from stdrc_core.prompts.spatial import (
    SpatialRule,
    broken_spatial_rules,
    closed_up,
    repaired_spatial,
)
from stdrc_core.prompts.split import split_prompt
from stdrc_core.prompts.temporal import (
    TemporalRule,
    broken_temporal_rules,
    repaired_temporal,
    with_facial_cue,
)

GENDERS = st.sampled_from([*Gender, None])


@settings(max_examples=50, deadline=None)
@given(drawn=sentences(), gender=st.sampled_from(Gender))
def test_a_split_sentence_keeps_all_rules(drawn: Drawn, gender: Gender) -> None:
    still, moving = split_prompt(drawn.text, gender)
    assert broken_spatial_rules(still, gender) == broken_temporal_rules(moving, gender) == []
    # The motion is left out of the one, and stands before the first comma in the other.
    assert drawn.action not in still.split()
    assert drawn.action in moving.split(",")[0].split()


@settings(max_examples=50, deadline=None)
@given(drawn=sentences())
def test_a_split_drops_nothing_of_the_motion_and_keeps_place_and_face(drawn: Drawn) -> None:
    still, moving = split_prompt(drawn.text, Gender(drawn.gender))
    for word in drawn.text.lower().replace(",", " ").replace(".", " ").split():
        assert word in moving.lower().replace(",", " ").replace(".", " ").split()
    for word in ("park", "market", "beach", "library", "kitchen", "mountain", "smiling", "calm"):
        assert (word in drawn.text) == (word in still), still
    for word in ("coat", "glasses", "sweater", "dress", "hair", "hat"):
        assert (word in drawn.text) == (word in still), still


@settings(max_examples=100, deadline=None)
@given(text=jumbles(), gender=GENDERS)
def test_whatever_is_said_is_repaired_once(text: str, gender: Gender | None) -> None:
    still, moving = repaired_spatial(text, gender), repaired_temporal(text, gender)
    assert repaired_spatial(still, gender) == still
    assert repaired_temporal(moving, gender) == moving
    assert broken_spatial_rules(still, gender) == broken_temporal_rules(moving, gender) == []


@settings(max_examples=100, deadline=None)
@given(text=jumbles())
def test_a_repaired_first_frame_has_no_word_of_its_own(text: str) -> None:
    before, after = (
        set(re.findall("[a-z]+", each.lower())) for each in (text, repaired_spatial(text, None))
    )
    added = after - before
    assert added <= {"a", "person", "with", "close", "up"}


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=400))
def test_any_language_gets_its_end_and_its_cue_once(text: str) -> None:
    still, moving = closed_up(text), with_facial_cue(text, Gender.PERSON)
    assert still.endswith("close-up") or still.lower().endswith("close-up")
    assert closed_up(still) == still
    assert with_facial_cue(moving, Gender.PERSON) == moving


CUE = "The expression on her face changes gently as her eyes blink."
SPLIT = {
    "A woman in a red coat walks slowly through a crowded market, smiling softly.": (
        "A woman in a red coat, in a market, smiling softly, close-up",
        "A woman in a red coat walks slowly through a crowded market, smiling softly.",
    ),
    "In a library surrounded by people, an elderly woman with long dark hair is reading a book.": (
        "In a library, an elderly woman with long dark hair, a book, close-up",
        "An elderly woman with long dark hair is reading a book, in a library surrounded by "
        f"people. {CUE}",
    ),
    "A chef, in a white dress and sandals, turns to the camera at the foot of a mountain.": (
        "A chef, in a white dress, at the foot of a mountain, close-up",
        "A chef turns to the camera at the foot of a mountain, in a white dress and sandals. "
        f"{CUE}",
    ),
    "A little boy lifts his cup with friends on a beach at sunset, with a calm expression.": (
        "A little girl, her cup on a beach at sunset, with a calm expression, close-up",
        "A little girl lifts her cup with friends on a beach at sunset, with a calm expression.",
    ),
}


@pytest.mark.parametrize("prompt", SPLIT)
def test_a_prompt_is_split_into_its_first_frame_and_its_motion(prompt: str) -> None:
    assert split_prompt(prompt, Gender.WOMAN) == SPLIT[prompt]


@pytest.mark.parametrize(
    ("prompt", "still"),
    [
        ("She smiles in a park.", "a woman smiling in a park, close-up"),
        ("The video shows a chef, then he turns.", "A chef, close-up"),
        ("The camera zooms in on a girl in a hat who runs.", "a girl in a hat, close-up"),
        ("Two women dance on a beach.", "a woman, on a beach, close-up"),
        ("Portrait in the rain, red coat", "a woman, Portrait in the rain, red coat, close-up"),
    ],
)
def test_a_first_frame_has_its_subject(prompt: str, still: str) -> None:
    assert split_prompt(prompt, Gender.WOMAN)[0] == still


SOUND_SPATIAL = (
    "a woman at the foot of a mountain, close-up",
    "a woman in a women's coat, Close-Up",
    "a young woman, soft smile, red wool coat, snowy park at dusk, close-up",
    "an old man with a grey beard, dark blue suit, office, medium close-up",
)
SOUND_TEMPORAL = (
    "A woman in a long red coat with brass buttons slowly walks, smiling.",
    "A woman in a red coat walks through a snowy park. She looks up and smiles.",
    "She turns her head slowly, her eyes widen, and she laughs.",
    "The young woman is reading a book in a library, her gaze moving over the page.",
)


@pytest.mark.parametrize("text", SOUND_SPATIAL)
def test_a_sound_first_frame_is_untouched(text: str) -> None:
    gender = Gender.MAN if "man," in text or " man " in text else Gender.WOMAN
    gender = Gender.WOMAN if "woman" in text else gender
    assert repaired_spatial(text, gender) is text


@pytest.mark.parametrize("text", SOUND_TEMPORAL)
def test_a_sound_motion_is_untouched(text: str) -> None:
    assert repaired_temporal(text, Gender.WOMAN) is text


@pytest.mark.parametrize(
    ("text", "broken", "repaired"),
    [
        (
            "A woman stands in a park. She wears a hat, close-up",
            SpatialRule.PHRASES,
            "A woman stands in a park, wears a hat, close-up",
        ),
        ("a woman, red coat", SpatialRule.CLOSE_UP, "a woman, red coat, close-up"),
        (
            "a woman wearing boots and a hat, close-up",
            SpatialRule.NO_FEET,
            "a woman wearing a hat, close-up",
        ),
        (
            "a woman in a street surrounded by a crowd, close-up",
            SpatialRule.ALONE,
            "a woman in a street, close-up",
        ),
        (
            "a woman; red coat, close-up",
            SpatialRule.PHRASES,
            "a woman, red coat, close-up",
        ),
        (
            "a woman,, red coat, close-up",
            SpatialRule.PHRASES,
            "a woman, red coat, close-up",
        ),
        ("she is in a park, close-up", SpatialRule.PHRASES, "in a park, close-up"),
        (
            "a woman in a long red coat with brass buttons on a wide empty beach, close-up",
            SpatialRule.PHRASES,
            "a woman in a long red coat with brass buttons, on a wide empty beach, close-up",
        ),
        (
            "a woman, close-up of a face",
            SpatialRule.CLOSE_UP,
            "a woman, close-up of a face, close-up",
        ),
        (
            "a woman, barefoot on a beach, close-up",
            SpatialRule.NO_FEET,
            "a woman, on a beach, close-up",
        ),
        (
            "a woman, her toes in the sand, close-up",
            SpatialRule.NO_FEET,
            "a woman, in the sand, close-up",
        ),
        (
            "a woman in a crowded market, close-up",
            SpatialRule.ALONE,
            "a woman in a market, close-up",
        ),
        (
            "a woman, another woman behind her, close-up",
            SpatialRule.ALONE,
            "a woman, behind her, close-up",
        ),
        ("a woman, children, close-up", SpatialRule.ALONE, "a woman, close-up"),
        ("a waiter, close-up", SpatialRule.GENDER, "a waitress, close-up"),
        (
            "a woman in a men's coat, close-up",
            SpatialRule.GENDER,
            "a woman in a women's coat, close-up",
        ),
        (
            "a man with his hat, close-up",
            SpatialRule.GENDER,
            "a woman with her hat, close-up",
        ),
    ],
)
def test_each_spatial_rule(text: str, broken: SpatialRule, repaired: str) -> None:
    assert broken_spatial_rules(text, Gender.WOMAN) == [broken]
    assert repaired_spatial(text, Gender.WOMAN) == repaired


@pytest.mark.parametrize(
    ("text", "broken", "repaired"),
    [
        (
            "In a garden, a woman dances with closed eyes.",
            TemporalRule.ACTION_FIRST,
            "A woman dances with closed eyes, in a garden.",
        ),
        (
            "The sun sets. A woman with long hair, in red, walks home, smiling.",
            TemporalRule.ACTION_FIRST,
            "A woman walks home, with long hair, in red, smiling. The sun sets.",
        ),
        (
            "A smile in the rain.",
            TemporalRule.ACTION_FIRST,
            "A woman moves naturally. A smile in the rain.",
        ),
        (
            "The camera zooms in on a woman who laughs.",
            TemporalRule.ACTION_FIRST,
            "A woman who laughs, the camera zooms in on her.",
        ),
        (
            "A close-up shot of an old woman with a wrinkled face.",
            TemporalRule.ACTION_FIRST,
            "An old woman moves naturally, with a wrinkled face.",
        ),
        (
            "A woman waves and he smiles at his reflection.",
            TemporalRule.GENDER,
            "A woman waves and she smiles at her reflection.",
        ),
        (
            "A person is seen. They blink.",
            TemporalRule.ACTION_FIRST,
            "They blink. A person is seen.",
        ),
        (
            "The chef laughs at his own joke.",
            TemporalRule.GENDER,
            "The chef laughs at her own joke.",
        ),
        ("A woman waves", TemporalRule.FACE, f"A woman waves. {CUE}"),
    ],
)
def test_each_temporal_rule(text: str, broken: TemporalRule, repaired: str) -> None:
    assert broken_temporal_rules(text, Gender.WOMAN) == [broken]
    assert repaired_temporal(text, Gender.WOMAN) == repaired


def test_long_prompts_are_cut_and_keep_their_rules() -> None:
    phrases = ", ".join(f"red flower number {i}" for i in range(60)) + ", close-up"
    assert broken_spatial_rules(phrases, Gender.WOMAN) == [SpatialRule.LENGTH]
    cut = repaired_spatial(phrases, Gender.WOMAN)
    assert phrases.startswith(cut.removesuffix("close-up"))
    assert 70 < len(cut.split()) <= 80
    story = "A woman walks home. " + "The rain falls on the street. " * 60 + "She smiles."
    assert broken_temporal_rules(story, Gender.WOMAN) == [TemporalRule.LENGTH]
    shorter = repaired_temporal(story, Gender.WOMAN)
    assert shorter.endswith(CUE)
    assert len(shorter.split()) == 200
