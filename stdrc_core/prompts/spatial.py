"""The rules for the prompt of a first frame, and how a prompt that breaks one is repaired.

Such a prompt lists in phrases what stands still (face, clothing, place), shows no feet and nobody
else, and ends with "close-up", as in IPVG-STD's spatial semantic parser (docs/method.md section 8).
The limits in words are ours.
"""

from __future__ import annotations

import re
from enum import StrEnum

from .gender import Gender, is_consistent, with_gender
from .text import TITLE, count_words, cut_words, one_line
from .words import (
    BEFORE_CONNECTOR,
    LONE_CONNECTOR,
    Noun,
    is_forbidden,
    names,
    without_bare_adjectives,
)

CLOSE_UP = "close-up"
MAX_PHRASE_WORDS = 12
MAX_SPATIAL_WORDS = 80

_SENTENCE_MARK = re.compile(rf"(?P<title>{TITLE})|[.!?;:]+(?=\s|$)|\n")
_PRONOUN = re.compile(r"(?:he|she|they|it)\b\s*(?:(?:is|are|was|were)\b\s*|(has|have|had)\b\s*)?",
                      re.IGNORECASE)  # fmt: skip
_TRAILING_MARKS = re.compile(r"[\s.,;:!?\u3002\uff0c\u3001\uff01\uff1f]+$")
_STARTS_WITH_PRONOUN = re.compile(r"(?:he|she|they|it)\b", re.IGNORECASE)
_LEADING = re.compile(r"(?:(?:and|or|but|while|as)\b\s*|[^\w\"'(\u201c]+)+", re.IGNORECASE)


class SpatialRule(StrEnum):
    """The rules for a first frame's prompt, in the words of the report."""

    PHRASES = "phrases instead of sentences"
    CLOSE_UP = 'ends with "close-up"'
    NO_FEET = "no feet or shoes"
    ALONE = "nobody but the subject"
    GENDER = "one consistent gender"
    LENGTH = f"at most {MAX_SPATIAL_WORDS} words"


# The rules that can be checked in any language; the others need lists of English words.
ANY_LANGUAGE = frozenset({SpatialRule.CLOSE_UP, SpatialRule.LENGTH})


def broken_spatial_rules(text: str, gender: Gender | None) -> list[SpatialRule]:
    """Returns the rules that an English prompt of a first frame breaks.

    A phrase stands between commas, has at most 12 words and no mark that ends a sentence, and does
    not begin with a pronoun. With `gender` None the prompt is about a man and a woman, and the rule
    on gender is not checked.
    """
    phrases = [phrase.strip() for phrase in text.split(",")]
    holds = {
        SpatialRule.PHRASES: not _has_sentences(text.strip())
        and all(phrases)
        and all(count_words(phrase) <= MAX_PHRASE_WORDS for phrase in phrases)
        and not any(_STARTS_WITH_PRONOUN.match(phrase) for phrase in phrases),
        SpatialRule.CLOSE_UP: _ends_with_close_up(text),
        SpatialRule.NO_FEET: not names(text, Noun.FEET),
        SpatialRule.ALONE: not names(text, Noun.PEOPLE),
        SpatialRule.GENDER: gender is None or is_consistent(text, gender),
        SpatialRule.LENGTH: count_words(text) <= MAX_SPATIAL_WORDS,
    }
    return [rule for rule in SpatialRule if not holds[rule]]


def repaired_spatial(text: str, gender: Gender | None) -> str:
    """Returns an English prompt repaired so that it keeps all rules.

    A prompt that keeps them already is returned as it is. With `gender` None gender is left alone.
    """
    if not broken_spatial_rules(text, gender):
        return text
    if gender is not None and not is_consistent(text, gender):
        text = with_gender(text, gender)
    parts = _SENTENCE_MARK.sub(lambda mark: mark["title"] or ",", text.strip()).split(",")
    phrases = [short for part in parts for short in _short_phrases(_clean_phrase(part))]
    phrases = [phrase for phrase in phrases if phrase.lower() not in (CLOSE_UP, f"a {CLOSE_UP}")]
    while phrases and sum(map(count_words, phrases)) >= MAX_SPATIAL_WORDS:
        phrases.pop()
    subject = (gender or Gender.PERSON).noun_phrase
    phrases = phrases or [subject]
    if not _ends_with_close_up(phrases[-1]):
        phrases.append(CLOSE_UP)
    return ", ".join(phrases)


def closed_up(text: str) -> str:
    """Returns a prompt of any language within the limit of words and with "close-up" at its end."""
    text = one_line(text)
    if count_words(text) <= MAX_SPATIAL_WORDS and _ends_with_close_up(text):
        return text
    cut = cut_words(text, MAX_SPATIAL_WORDS - 1)
    if _ends_with_close_up(cut):
        return cut
    return f"{_TRAILING_MARKS.sub('', cut)}, {CLOSE_UP}"


def without_forbidden(phrase: str) -> str:
    """Returns the phrase without what names feet, shoes or other people.

    It returns "" where nothing else is left.
    """
    phrase = one_line(without_bare_adjectives(phrase))
    if not is_forbidden(phrase):
        return phrase
    kept: list[str] = []
    lost_head = ""
    for segment in BEFORE_CONNECTOR.split(phrase):
        if is_forbidden(segment):
            head = segment.split(" ", 1)[0]
            lost_head = lost_head if head.lower() in ("and", "or") else head
            # Words that only led to what was removed are removed too: "surrounded" by a crowd.
            while kept and LONE_CONNECTOR.fullmatch(kept[-1]):
                kept.pop()
            continue
        if lost_head and segment.lower().startswith(("and ", "or ")):
            # "wearing boots and a hat" becomes "wearing a hat".
            rest = segment.split(" ", 1)[1]
            segment = f"{lost_head} {rest}" if LONE_CONNECTOR.fullmatch(lost_head) else rest
        lost_head = ""
        kept.append(segment)
    joined = " ".join(kept)
    # Two parts may together name something forbidden that neither names alone.
    return "" if is_forbidden(joined) else joined


def _ends_with_close_up(text: str) -> bool:
    return re.search(r"(?<![\w-])close-up$", text.lower()) is not None


def _has_sentences(text: str) -> bool:
    return any(not mark["title"] for mark in _SENTENCE_MARK.finditer(text))


def _clean_phrase(part: str) -> str:
    """Returns the phrase without a conjunction or pronoun in front and without forbidden words."""
    phrase, before = one_line(part), None
    while phrase != before:
        before = phrase
        phrase = _without_lead(phrase)
        if pronoun := _PRONOUN.match(phrase):
            phrase = ("with " if pronoun[1] else "") + phrase[pronoun.end() :]
        phrase = without_forbidden(phrase.strip())
    return "" if LONE_CONNECTOR.fullmatch(phrase) else phrase


def _without_lead(phrase: str) -> str:
    lead = _LEADING.match(phrase)
    return phrase[lead.end() :] if lead else phrase


def _short_phrases(phrase: str) -> list[str]:
    """Returns the phrase in pieces of at most 12 words, split where a new thing begins."""
    pieces: list[str] = []
    for segment in BEFORE_CONNECTOR.split(phrase):
        if pieces and count_words(f"{pieces[-1]} {segment}") <= MAX_PHRASE_WORDS:
            pieces[-1] = f"{pieces[-1]} {segment}"
            continue
        while count_words(segment) > MAX_PHRASE_WORDS:
            head = cut_words(segment, MAX_PHRASE_WORDS)
            pieces.append(head)
            segment = segment[len(head) :].lstrip(" ,;:-")
        pieces.append(_without_lead(segment) if pieces else segment)
    return [piece for piece in pieces if piece and not _STARTS_WITH_PRONOUN.match(piece)]
