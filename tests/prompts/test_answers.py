"""What a language model's answers come in, and what is left of them."""

from __future__ import annotations

import json

import pytest
from helpers.drawn_prompts import Drawn, jumbles, sentences
from hypothesis import given, settings
from hypothesis import strategies as st

from stdrc_core.prompts.answers import Part, read_answer

TEXT = "a young woman, red coat, snowy park, close-up"

WRAPPED = {
    "plain": TEXT,
    "spaces": f"\n  {TEXT} \n",
    "quotes": f'"{TEXT}"',
    "curly quotes": f"\u201c{TEXT}\u201d",
    "guillemets": f"\u00ab{TEXT}\u00bb",
    "thoughts": f"<think>The user wants: phrases.\n\nSo.</think>\n\n{TEXT}",
    "thoughts that the template opened": f"The user wants phrases.</think>\n{TEXT}",
    "thinking": f"<thinking>\nhm\n</thinking>{TEXT}",
    "channels": f"<|channel|>analysis<|message|>hm<|end|><|channel|>final<|message|>{TEXT}<|end|>",
    "turns": f"{TEXT}<end_of_turn>\n",
    "json": json.dumps({"spatial": TEXT, "temporal": "She walks."}),
    "json of phrases": json.dumps({"Spatial_prompt": TEXT.split(", ")}),
    "json nested": json.dumps({"result": {"spatial": TEXT}}),
    "json list": json.dumps(TEXT.split(", ")),
    "fenced json": f'Here you go:\n```json\n{{\n "prompt": "{TEXT}"\n}}\n```\nEnjoy!',
    "fence": f"```\n{TEXT}\n```",
    "bold": f"**{TEXT}**",
    "heading": f"## Spatial prompt\n\n{TEXT}",
    "label": f"Spatial prompt: {TEXT}",
    "bold label": f"**Answer:** {TEXT}",
    "bullets": "\n".join(f"- {phrase}" for phrase in TEXT.split(", ")),
    "numbers": "\n".join(f"{i}. {each}," for i, each in enumerate(TEXT.split(", "), start=1)),
    "chat": f"Sure! Here is the prompt:\n\n{TEXT}\n\nLet me know if you want another one!",
    "note": f"{TEXT}\n\n*Note:* I left the boots out.",
    "all of it": f'<think>x</think>Sure, here it is:\n```json\n{{"spatial": "**{TEXT}**"}}\n```',
}


@pytest.mark.parametrize("raw", WRAPPED.values(), ids=WRAPPED)
def test_an_answer_is_found_in_what_is_around_it(raw: str) -> None:
    assert read_answer(raw, Part.SPATIAL) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        'She turns and says "hello" to her mirror, smiling.',
        '"Hello," she says, and laughs "out loud"',
        "She counts: one, two, three.",
        "A woman in a 3.5 m boat - old and small - rows; her eyes close.",
        "Great waves rise behind the woman as she laughs.",
        "Eine Frau geht durch den Park.",
        "\u4e00\u4e2a\u5973\u4eba\u5728\u516c\u56ed\u91cc\u8d70\u8def\u3002",
    ],
)
def test_a_plain_answer_is_untouched(text: str) -> None:
    assert read_answer(text, Part.TEMPORAL) == text


def test_sentences_of_a_list_are_joined_as_sentences() -> None:
    raw = "1. She walks home.\n2. She smiles."
    assert read_answer(raw, Part.TEMPORAL) == "She walks home. She smiles."


def test_each_part_is_taken_from_an_answer_with_both() -> None:
    raw = json.dumps({"spatial": TEXT, "temporal": "She walks."})
    assert read_answer(raw, Part.TEMPORAL) == "She walks."


@settings(max_examples=50, deadline=None)
@given(drawn=sentences(), wrap=st.lists(st.sampled_from(sorted(WRAPPED)), max_size=2))
def test_wrappings_in_wrappings_come_off(drawn: Drawn, wrap: list[str]) -> None:
    raw = drawn.text
    for name in wrap:
        if name in ("quotes", "thoughts", "fence", "turns", "bold", "spaces", "thinking"):
            raw = WRAPPED[name].replace(TEXT, raw)
    assert read_answer(raw, Part.TEMPORAL) == drawn.text


@settings(max_examples=100, deadline=None)
@given(raw=jumbles() | st.text(alphabet='"{}[]<>`*#-\u201c\u201d\n: ab,.', max_size=60))
def test_any_answer_is_read_once_or_refused_in_one_sentence(raw: str) -> None:
    for part in Part:
        try:
            text = read_answer(raw, part)
        except ValueError as error:
            assert str(error).startswith(f"{part}_answer ")
            assert str(error).count("\n") == 0
        else:
            assert text == " ".join(text.split()) != ""


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("", "is empty"),
        (" \n ", "is empty"),
        ("<think>I wonder whether", "thoughts alone, 3 words"),
        ("<think>hm</think>", "thoughts alone"),
        ("...", "has no words"),
        ('{"spatial": ""}', "has no words"),
        ("I'm sorry, but I can't help with that.", "is a refusal"),
    ],
)
def test_no_answer_is_one_sentence(raw: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"spatial_answer .*{says}") as raised:
        read_answer(raw, Part.SPATIAL)
    assert "disconnect it" in str(raised.value)
