"""From a prompt and perhaps two answers to two prompts and a report; whose gender; languages."""

from __future__ import annotations

import pytest

from stdrc_core.prompts.decouple import Decoupled, Subject, decouple, find_subject, make_request
from stdrc_core.prompts.gender import Gender, with_gender
from stdrc_core.prompts.text import count_words, is_english

PROMPT = "A woman in a red coat walks through a snowy park, smiling softly."


def made(
    prompt: str = PROMPT, spatial: str | None = None, temporal: str | None = None
) -> Decoupled:
    return decouple(make_request(prompt, find_subject(prompt, None, None, "")), spatial, temporal)


def test_without_a_model_both_are_made_by_rules_and_the_report_says_so() -> None:
    got = made()
    assert got.spatial == "A woman in a red coat, in a snowy park, smiling softly, close-up"
    assert got.temporal == PROMPT
    assert "by the prompt's own words" in got.notes[0]
    assert all("by rules, without a language model" in note for note in got.notes[1:])


def test_a_sound_answer_is_taken_and_a_broken_one_repaired_with_both_told() -> None:
    got = made(spatial="a woman, red coat, close-up", temporal="He walks home.")
    assert got.spatial == "a woman, red coat, close-up"
    assert "keeps all rules; unchanged" in got.notes[1]
    cue = "The expression on her face changes gently as her eyes blink."
    assert got.temporal == f"She walks home. {cue}"
    assert "one consistent gender; a facial cue" in got.notes[2]
    assert '"He walks home."' in got.notes[2]
    assert got.report.splitlines() == list(got.notes)


def test_one_answer_alone_leaves_the_other_to_the_rules() -> None:
    got = made(temporal="She turns her head and laughs.")
    assert got.temporal == "She turns her head and laughs."
    assert got.spatial == "A woman in a red coat, in a snowy park, smiling softly, close-up"
    assert "by rules" in got.notes[1]


@pytest.mark.parametrize(
    ("asked", "seen", "prompt", "gender", "says"),
    [
        (Gender.MAN, Gender.WOMAN, "A person waves.", "man", "set by hand"),
        (None, Gender.WOMAN, "A person waves.", "woman", "as the photo has it"),
        (None, Gender.WOMAN, "A man waves.", "woman", "words are for a man and are changed"),
        (None, None, "A boy waves.", "man", "by the prompt's own words"),
        (None, None, "The chef waves and her hat falls.", "woman", "by the prompt's own words"),
        (None, None, "The chef waves.", "person", "set it by hand"),
        (Gender.MAN, None, "A man meets a woman.", None, "names a man and a woman"),
    ],
)
def test_where_the_gender_comes_from_is_told(
    asked: Gender | None, seen: Gender | None, prompt: str, gender: str | None, says: str
) -> None:
    subject = find_subject(prompt, asked, seen, "as the photo has it")
    assert subject.gender == gender
    assert says in subject.source
    assert decouple(make_request(prompt, subject)).notes[0] == subject.source


@pytest.mark.parametrize(
    ("text", "gender", "expected"),
    [
        ("She takes her hat and it suits her.", "man", "He takes his hat and it suits him."),
        ("His dog sees him. The hat is his.", "woman", "Her dog sees her. The hat is hers."),
        ("He walks and lifts his cup himself.", "person",
         "The person walks and lifts their cup themself."),
        ("An uncle and a waiter, WOMAN", "woman", "An aunt and a waitress, WOMAN"),
        ("A woman's coat", "man", "A man's coat"),
        ("the human chef, mankind, heather", "woman", "the human chef, mankind, heather"),
    ],
)  # fmt: skip
def test_words_of_the_other_gender_are_replaced(text: str, gender: str, expected: str) -> None:
    assert with_gender(text, Gender(gender)) == expected
    assert with_gender(expected, Gender(gender)) == expected


FOREIGN = (
    "Eine Frau im roten Mantel geht durch den Park.",
    "Une femme avec un manteau rouge marche dans le parc.",
    "Una mujer con un abrigo rojo camina por el parque.",
    "\u4e00\u4e2a\u5973\u4eba\u5728\u516c\u56ed\u91cc\u8d70\u8def\uff0c\u5fae\u7b11\u7740\u3002",
    "\u041e\u043d\u0430 \u0438\u0434\u0451\u0442 \u043f\u043e \u0441\u0430\u0434\u0443.",
)


@pytest.mark.parametrize("prompt", FOREIGN)
def test_another_language_is_passed_through_and_said(prompt: str) -> None:
    assert not is_english(prompt)
    subject = find_subject(prompt, Gender.WOMAN, None, "")
    got = decouple(make_request(prompt, subject))
    body = prompt.rstrip(".\u3002")
    assert got.spatial == f"{body}, close-up"
    assert got.temporal.startswith(body)
    assert got.temporal.endswith("as her eyes blink.")
    assert all("not English" in note for note in got.notes[1:])
    # A model that translated is held to all rules.
    got = decouple(make_request(prompt, subject), "a woman in boots", "She walks and smiles.")
    assert (got.spatial, got.temporal) == ("a woman, close-up", "She walks and smiles.")


def test_long_and_empty_prompts_are_one_sentence() -> None:
    nobody = Subject(gender=Gender.PERSON, source="")
    for prompt, says in (("", "no words"), (" ... ", "no words"), ("word " * 501, "501 words")):
        with pytest.raises(ValueError, match=f"prompt has {says}.*needs"):
            make_request(prompt, nobody)
    assert count_words("\u5973\u4eba walks home") == 4


def test_instructions_hold_the_prompt_the_gender_and_nothing_that_is_a_turn() -> None:
    for asked in (*Gender, None):
        subject = Subject(gender=asked, source="")
        for instruction in make_request(PROMPT, subject).instructions:
            assert instruction.endswith(f"Request: {PROMPT}")
            # What begins so is taken by ComfyUI for a template of one's own.
            assert not instruction.startswith("<")
            assert (f"is a {asked}" in instruction) == (asked in ("man", "woman"))
    spatial, temporal = make_request(PROMPT, subject).instructions
    assert "close-up" in spatial and "feet" in spatial and "facial" not in spatial
    assert "first sentence" in temporal and "face moves" in temporal
