"""Noun phrases: where one ends, and whether it is of a person."""

from __future__ import annotations

from .grammar import Token
from .lexicon import Kind, readings
from .tags import Tag
from .words import words

_ABOUT = ("about", "around", "nearly", "almost", "over", "under")
_NOUN_PHRASE = frozenset({Tag.DETERMINER, Tag.ADJECTIVE, Tag.NOUN})


def noun_phrase_end(tokens: list[Token], start: int) -> int:
    """Returns the index after the noun phrase at `start`, or `start` if there is none.

    A phrase with "of" belongs to the one before it.
    """
    i = start
    has_noun = False
    while i < len(tokens):
        tag = tokens[i].tag
        if tag is Tag.DETERMINER and has_noun and not tokens[i - 1].word.endswith("s'"):
            break
        if tag is Tag.ADVERB and i + 1 < len(tokens) and not has_noun and i > start:
            i += 1
            continue
        if tag not in _NOUN_PHRASE or (
            tag is Tag.ADJECTIVE and has_noun and not _goes_on(tokens, i)
        ):
            break
        has_noun = has_noun or tag is Tag.NOUN
        i += 1
    if not has_noun:
        return start
    if i < len(tokens) and tokens[i].word == "of":
        end = noun_phrase_end(tokens, i + 1)
        return end if end > i + 1 else _age_end(tokens, i)
    return i


def _age_end(tokens: list[Token], i: int) -> int:
    """Returns the end of "of about thirty" at `i`, or `i` for anything else."""
    end = start = i + 1 + (i + 1 < len(tokens) and tokens[i + 1].word in _ABOUT)
    while end < len(tokens) and tokens[end].tag in (Tag.DETERMINER, Tag.ADJECTIVE):
        end += 1
    return end if end > start else i


def _goes_on(tokens: list[Token], i: int) -> bool:
    """Returns whether an adjective after a noun is before another one: "a hotel front desk"."""
    return i + 1 < len(tokens) and tokens[i + 1].tag is Tag.NOUN


def _is_agent(word: str) -> bool:
    """Returns whether a word that the lexicon has not is of who does something: "kayaker"."""
    word = word.removesuffix("s")
    for ending in ("er", "ist"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2:
            halved = stem[:-1] if stem[-1] == stem[-2] else stem
            return any(readings(each) for each in (stem, stem + "e", halved))
    return False


def is_person(token: Token) -> bool:
    """Returns whether a noun or pronoun is of a person or an animal, by the lexicon."""
    if token.tag is Tag.SUBJECT_PRONOUN:
        return token.word in ("he", "she", "they", "i", "we", "you")
    kind = token.reading.kind if token.reading else None
    return token.tag is Tag.NOUN and (
        (token.reading is None and _is_agent(token.word))
        or kind in (Kind.PERSON, Kind.ANIMAL)
        or token.word in words("nouns", "subject")
        or token.word in words("nouns", "collective")
    )
