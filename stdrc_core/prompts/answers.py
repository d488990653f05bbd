"""Finds the prompt in a language model's answer, among thoughts, quotes, JSON, markdown and chat.

Steps that each remove one kind of wrapping are repeated until none of them changes anything. So a
plain answer comes back as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any


class Part(StrEnum):
    """The two prompts; an answer is for one of them."""

    SPATIAL = "spatial"
    TEMPORAL = "temporal"


_THOUGHTS = r"think(?:ing)?|thought|reasoning|analysis|scratchpad"
_WHOLE_THOUGHT = re.compile(rf"<({_THOUGHTS})>.*?</\1>", re.IGNORECASE | re.DOTALL)
_LATE_END = re.compile(rf".*</(?:{_THOUGHTS})>", re.IGNORECASE | re.DOTALL)
_OPEN_THOUGHT = re.compile(rf"<(?:{_THOUGHTS})>.*", re.IGNORECASE | re.DOTALL)
# The model's own marks of channels and of turns. What stands before the final channel is thought.
_FINAL_CHANNEL = re.compile(r".*<\|channel\|>\s*final\s*(?:<\|message\|>)?", re.DOTALL)
_TURN_MARK = re.compile(
    r"<\|[^|<>\n]*\|>|<(?:start|end)_of_turn>(?:\s*(?:model|assistant)\b)?|</?s>|<eos>|<bos>|"
    r"\[/?INST\]"
)
_FENCE = re.compile(r"```[\w-]*[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_LEAD_IN = re.compile(
    r"(?:(?:sure|certainly|of course|okay|ok|absolutely|great|yes)(?:[!.]|\b[^:.!\n]{0,80}:)|"
    r"here(?:'s|\u2019s| is| are| you go)\b[^:\n]{0,80}:|"
    r"(?:(?:the|my|final|revised|polished|rewritten)\s+){0,2}"
    r"(?:spatial|temporal|prompt|answer|output|result|response|phrases?|description)"
    r"(?:\s+(?:prompt|phrases?|description|answer|semantics?))?\s*:)\s*",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"\n\s*(?:[(*_]*(?:note|explanation|rationale|changes made)\b[^\n]*:|let me know|i hope|"
    r"feel free|would you like|hope this).*\Z",
    re.IGNORECASE | re.DOTALL,
)
_REFUSAL = re.compile(
    r"(?:i['\u2019]?m (?:really |very )?sorry|sorry,|i apologi[sz]e|as an ai\b|"
    r"i (?:can ?not|can['\u2019]t|am unable to|am not able to)\b)",
    re.IGNORECASE,
)
_QUOTES = {
    '"': '"',
    "'": "'",
    "`": "`",
    "\u201c": "\u201d",
    "\u201e": "\u201c",
    "\u2018": "\u2019",
    "\u00ab": "\u00bb",
    "\u300c": "\u300d",
}
_ITEM = re.compile(r"^\s*(?:[-*•+]|\d+[.)])\s+", re.MULTILINE)
_HEADING = re.compile(r"^\s*#{1,6}\s+.*$", re.MULTILINE)
_EMPHASIS = re.compile(r"(\*{1,3}|(?<!\w)_{1,3})(?=\S)(.+?)(?<=\S)\1(?!\w)", re.DOTALL)
_JSON_KEYS = ("prompt", "answer", "text", "output", "result", "response", "description", "phrases")


def read_answer(raw: str, part: Part) -> str:
    """Returns the prompt in a language model's answer, on one line.

    Raises ValueError for an answer that is empty, that has thoughts alone or no words, or that
    refuses. The message calls the answer by the name of the node's input, such as spatial_answer.
    """
    name = f"{part}_answer"
    remedy = "or disconnect it for the split without a language model"
    if not raw.strip():
        raise ValueError(
            f"{name} is empty; needs the language model's words: raise its max_length, try another "
            f"seed or model, {remedy}."
        )
    said = _without_thoughts(raw)
    if not said:
        raise ValueError(
            f"{name} holds the model's thoughts alone, {len(raw.split())} words of them; needs its "
            f"answer: switch thinking off or raise max_length, {remedy}."
        )
    text = _unwrapped(said, part)
    if not any(letter.isalpha() for letter in text):
        raise ValueError(
            f"{name} has no words ({raw.strip()[:40]!r}); needs the language model's words: try "
            f"another seed or model, {remedy}."
        )
    if _REFUSAL.match(text):
        raise ValueError(
            f"{name} is a refusal ({' '.join(text.split())[:60]!r}); needs a prompt: try another "
            f"seed or model, {remedy}."
        )
    return text


def _without_thoughts(raw: str) -> str:
    text = _WHOLE_THOUGHT.sub("", raw)
    # Some chat templates open the thoughts, so that the answer has only their end; an answer that
    # was cut short has only their beginning.
    for pattern in (_LATE_END, _OPEN_THOUGHT, _FINAL_CHANNEL):
        text = pattern.sub("", text, count=1)
    return _TURN_MARK.sub("", text).strip()


def _unwrapped(said: str, part: Part) -> str:
    steps: tuple[Callable[[str], str], ...] = (
        _without_fence,
        lambda text: _from_json(text, part),
        lambda text: _CLOSING.sub("", text),
        lambda text: _HEADING.sub("", text),
        lambda text: _EMPHASIS.sub(r"\2", text),
        lambda text: _LEAD_IN.sub("", text, count=1) if _LEAD_IN.match(text) else text,
        lambda text: _from_list(text, part),
        _without_quotes,
        lambda text: " ".join(text.split()) if "\n\n" not in text else text,
    )
    text, before = said, None
    while text != before:
        before = text
        for step in steps:
            text = step(text).strip()
    return " ".join(text.split())


def _without_fence(text: str) -> str:
    fenced = _FENCE.search(text)
    return fenced[1] if fenced and fenced[1].strip() else text.replace("```", "")


def _from_json(text: str, part: Part) -> str:
    """Returns the string that a JSON answer holds for `part`; other text is returned as it is."""
    start = re.search(r"[{\[]", text)
    if start is None:
        return text
    try:
        value, _ = json.JSONDecoder(strict=False).raw_decode(text, start.start())
    except json.JSONDecodeError:
        return text
    found = _string_of(value, part)
    return text if found is None else found


def _string_of(value: Any, part: Part) -> str | None:
    match value:
        case str():
            return value
        case list() if value and all(isinstance(each, str) for each in value):
            return _strung(value, part)
        case dict():
            named = {str(key).lower(): each for key, each in value.items()}
            wanted = [key for key in named if part in key]
            others = [key for key in _JSON_KEYS if key in named]
            keys = [*wanted, *others, *(named if len(named) == 1 else ())]
            strings = (_string_of(named[key], part) for key in keys)
            return next((each for each in strings if each), "" if wanted else None)
    return None


def _from_list(text: str, part: Part) -> str:
    if not _ITEM.search(text):
        return text
    lines = [_ITEM.sub("", line).strip() for line in text.split("\n")]
    return _strung([line for line in lines if line], part)


def _strung(items: list[str], part: Part) -> str:
    """Joins the items of a list: spatial phrases by commas, temporal sentences by spaces."""
    if part is Part.SPATIAL:
        return ", ".join(item.strip().rstrip(",.;") for item in items)
    return " ".join(item.strip() for item in items)


def _without_quotes(text: str) -> str:
    """Removes quotes around the whole text, but not those of a line that somebody says in it."""
    if not text or text[0] not in _QUOTES:
        return text
    opening, closing = text[0], _QUOTES[text[0]]
    # Some models double the quotes.
    depth = len(text) - len(text.lstrip(opening))
    inside = text[depth:-depth]
    is_whole = text.endswith(closing * depth) and not {opening, closing} & set(inside)
    return inside if is_whole else text
