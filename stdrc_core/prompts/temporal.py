"""The prompt of the motion: what its rules are, and what is done where one is broken.

The main subject's action comes first, the subject has one gender throughout, and the face does
something (IPVG-STD's temporal prompt polisher, docs/method.md section 8). The limits are ours.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache

from .gender import Gender, is_consistent, with_gender
from .text import (
    capitalized,
    count_words,
    cut_words,
    one_line,
    split_sentences,
    uncapitalized,
    without_framing,
)
from .verbs import action_pattern, past_pattern
from .words import IN_WORD, Noun, names, subject_pattern

# LTX's own advice on prompts.
MAX_TEMPORAL_WORDS = 200
# Between the subject and its action there is room for what it wears.
_MAX_GAP_WORDS = 8
_MOVES = "moves naturally"
# What led to the subject once the subject has gone to the front: "as", and "zooms in on" her.
_ENDS_OPEN = re.compile(r"(?:^|\s+)(?:as|while|and|where|when|with)$", re.IGNORECASE)
_WANTS_OBJECT = re.compile(
    r"\b(?:on|at|to|around|toward|towards|follows|tracks|past)$", re.IGNORECASE
)
# The last three are those of Chinese and Japanese.
_ENDS = (".", "!", "?", "\u3002", "\uff01", "\uff1f")


class TemporalRule(StrEnum):
    """What the motion's prompt has to be, in the words of the report."""

    ACTION_FIRST = "the main subject's action first"
    GENDER = "one consistent gender"
    FACE = "a facial cue"
    LENGTH = f"at most {MAX_TEMPORAL_WORDS} words"


def broken_temporal_rules(text: str, gender: Gender | None) -> list[TemporalRule]:
    """The rules that an English prompt of the motion breaks.

    Its first clause begins with the subject, and within eight words after it has a verb of action.
    `gender` None leaves gender alone: the prompt is about a man and a woman.
    """
    holds = {
        TemporalRule.ACTION_FIRST: _acting_subject().match(text) is not None,
        TemporalRule.GENDER: gender is None or is_consistent(text, gender),
        TemporalRule.FACE: names(text, Noun.FACE),
        TemporalRule.LENGTH: count_words(text) <= MAX_TEMPORAL_WORDS,
    }
    return [rule for rule in TemporalRule if not holds[rule]]


def repaired_temporal(text: str, gender: Gender | None) -> str:
    """An English prompt that keeps all rules; one that keeps them already is returned as it is."""
    if not broken_temporal_rules(text, gender):
        return text
    text = one_line(text)
    if gender is not None and not is_consistent(text, gender):
        text = with_gender(text, gender)
    text = _with_action_first(text, gender or Gender.PERSON)
    return with_facial_cue(text, gender)


def with_facial_cue(text: str, gender: Gender | None) -> str:
    """A prompt of any language within the limit, and with a sentence about the face where it has no
    word of one; the sentence is English."""
    whose = (gender or Gender.PERSON).possessive
    cue = f"The expression on {whose} face changes gently as {whose} eyes blink."
    cut = cut_words(text, MAX_TEMPORAL_WORDS)
    if names(cut, Noun.FACE):
        return cut
    cut = cut_words(text, MAX_TEMPORAL_WORDS - count_words(cue))
    if not cut:
        return cue
    end = "" if cut.endswith(_ENDS) else "."
    return f"{cut}{end} {cue}"


def _with_action_first(text: str, gender: Gender) -> str:
    if _acting_subject().match(text):
        return text
    sentences = [without_framing(sentence) for sentence in split_sentences(text)]
    for i, sentence in enumerate(sentences):
        moved = _turned_round(sentence, gender)
        if moved is not None:
            return " ".join([moved, *sentences[:i], *sentences[i + 1 :]])
    told = capitalized(" ".join(sentences))
    subject = re.match(subject_pattern(), told, re.IGNORECASE)
    if subject is None:
        return one_line(f"{capitalized(gender.noun_phrase)} {_MOVES}. {told}")
    # "A man with a beard." is about a man who does nothing yet.
    rest = told[subject.end() :].lstrip(" ,")
    return f"{subject[0]} {_MOVES}{', ' if rest[:1].isalnum() else ' '}{rest}".strip()


def _turned_round(sentence: str, gender: Gender) -> str | None:
    """The sentence with its acting subject in front; None where it has none."""
    body, end = re.fullmatch(r"(.*?)([.!?]*)", sentence, re.DOTALL).groups()
    parts = [part.strip() for part in body.split(",") if part.strip()]
    found = _drawn_together(parts) or _put_first(parts, gender)
    if found is None:
        return None
    turned = capitalized(", ".join(part for part in found if part)) + (end or ".")
    return turned if _acting_subject().match(turned) else None


def _drawn_together(parts: list[str]) -> list[str] | None:
    """ "A woman with long hair, in red, walks" as "A woman walks, with long hair, in red"."""
    subject = re.match(subject_pattern(), parts[0], re.IGNORECASE) if parts else None
    if subject is None:
        return None
    for i, part in enumerate(parts[1:], start=1):
        if _leading_action().match(part):
            described = parts[0][subject.end() :].strip()
            rest = [described, *parts[1:i], *parts[i + 1 :]]
            return [f"{subject[0]} {part}", *rest]
    return None


def _put_first(parts: list[str], gender: Gender) -> list[str] | None:
    """ "In a garden, a woman dances" as "a woman dances, in a garden"."""
    for i, part in enumerate(parts):
        found = _acting_subject().search(part)
        if found:
            before = _ENDS_OPEN.sub("", part[: found.start()].strip())
            if _WANTS_OBJECT.search(before):
                before = f"{before} {gender.objective}"
            others = [uncapitalized(each) for each in (*parts[:i], before) if each]
            return [part[found.start() :], *others, *parts[i + 1 :]]
    return None


@cache
def _acting_subject() -> re.Pattern[str]:
    gap = rf"(?:\s+[{IN_WORD}]+){{0,{_MAX_GAP_WORDS}}}?"
    action = rf"(?:{gap}\s+{action_pattern()}|(?:\s+\w+ly)*\s+{past_pattern()})"
    return re.compile(rf"(?<![{IN_WORD}]){subject_pattern()}{action}", re.IGNORECASE)


@cache
def _leading_action() -> re.Pattern[str]:
    adverbs = r"(?:(?:is|are)\s+)?(?:\w+ly\s+)*"
    return re.compile(rf"{adverbs}{action_pattern()}", re.IGNORECASE)
