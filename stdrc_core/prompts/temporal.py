"""The rules for the prompt of the motion, and how a prompt that breaks one is repaired.

The main subject's action comes first, the subject has one gender throughout, and the face does
something, as in IPVG-STD's temporal prompt polisher (docs/method.md section 8). The limits in words
are ours.
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

# LTX's own advice on the length of prompts.
MAX_TEMPORAL_WORDS = 200
# The most words between the subject and its action, which may say what the subject wears.
_MAX_GAP_WORDS = 8
_MOVES = "moves naturally"
# The end of what is left before the subject once the subject has been moved to the front. A
# conjunction ("as") is dropped; a word that wants an object ("zooms in on") gets a pronoun.
_ENDS_OPEN = re.compile(r"(?:^|\s+)(?:as|while|and|where|when|with)$", re.IGNORECASE)
_WANTS_OBJECT = re.compile(
    r"\b(?:on|at|to|around|toward|towards|follows|tracks|past)$", re.IGNORECASE
)
# The last three end sentences in Chinese and Japanese.
_ENDS = (".", "!", "?", "\u3002", "\uff01", "\uff1f")


class TemporalRule(StrEnum):
    """The rules for the prompt of the motion, in the words of the report."""

    ACTION_FIRST = "the main subject's action first"
    GENDER = "one consistent gender"
    FACE = "a facial cue"
    LENGTH = f"at most {MAX_TEMPORAL_WORDS} words"


def broken_temporal_rules(text: str, gender: Gender | None) -> list[TemporalRule]:
    """Returns the rules that an English prompt of the motion breaks.

    Action first means that the prompt begins with the subject and has a verb of action within eight
    words after it. With `gender` None the prompt is about a man and a woman, and the rule on gender
    is not checked.
    """
    holds = {
        TemporalRule.ACTION_FIRST: _acting_subject().match(text) is not None,
        TemporalRule.GENDER: gender is None or is_consistent(text, gender),
        TemporalRule.FACE: names(text, Noun.FACE),
        TemporalRule.LENGTH: count_words(text) <= MAX_TEMPORAL_WORDS,
    }
    return [rule for rule in TemporalRule if not holds[rule]]


def repaired_temporal(text: str, gender: Gender | None) -> str:
    """Returns an English prompt repaired so that it keeps all rules.

    A prompt that keeps them already is returned as it is. With `gender` None gender is left alone.
    """
    if not broken_temporal_rules(text, gender):
        return text
    text = one_line(text)
    if gender is not None and not is_consistent(text, gender):
        text = with_gender(text, gender)
    text = _with_action_first(text, gender or Gender.PERSON)
    return with_facial_cue(text, gender)


def with_facial_cue(text: str, gender: Gender | None) -> str:
    """Returns a prompt of any language within the limit of words and with a word about the face.

    Where the prompt has no English word about a face, an English sentence about it is added.
    """
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
    # The text begins with a subject that does nothing, as in "A man with a beard."
    rest = told[subject.end() :].lstrip(" ,")
    return f"{subject[0]} {_MOVES}{', ' if rest[:1].isalnum() else ' '}{rest}".strip()


def _turned_round(sentence: str, gender: Gender) -> str | None:
    """Returns the sentence with its acting subject in front, or None where it has none."""
    body, end = re.fullmatch(r"(.*?)([.!?]*)", sentence, re.DOTALL).groups()
    parts = [part.strip() for part in body.split(",") if part.strip()]
    found = _drawn_together(parts) or _put_first(parts, gender)
    if found is None:
        return None
    turned = capitalized(", ".join(part for part in found if part)) + (end or ".")
    return turned if _acting_subject().match(turned) else None


def _drawn_together(parts: list[str]) -> list[str] | None:
    """Turns "A woman with long hair, in red, walks" into "A woman walks, with long hair, in red".

    `parts` is the sentence split at its commas. Returns None where it is not built so.
    """
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
    """Turns "In a garden, a woman dances" into "a woman dances, in a garden".

    `parts` is the sentence split at its commas. Returns None where it is not built so.
    """
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
