"""English words that the rules ask for, of words.toml: lists, which know what is on them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("words.toml")
# What may stand inside a word; \u2019 is the typographer's apostrophe.
IN_WORD = r"\w'\u2019-"

# Where a phrase can be taken apart; what follows one of them belongs together.
CONNECTORS = (
    r"(?:and|or|but|with|without|in|on|at|by|near|beside|behind|among|amongst|amid|against|around|"
    r"through|past|under|over|inside|outside|across|along|between|beneath|before|beyond|from|into|"
    r"onto|toward|towards|wearing|surrounded|while|as|full of|filled|dressed|carrying|holding|"
    r"watched|next|opposite|down|up)"
)
BEFORE_CONNECTOR = re.compile(rf"\s+(?={CONNECTORS}\b)", re.IGNORECASE)
LONE_CONNECTOR = re.compile(rf"(?:{CONNECTORS}|next to|close to|of|to|the|a|an)", re.IGNORECASE)
# They do not stand between an article and its noun.
_NO_ADJECTIVE = r"(?:with|in|of|as|on|at|and|to|by|from|who|that|is|are|a|an|the|near|under|over)\b"
_COUNTS = r"(?:another|other|second|two|three|four|several|many|few)"


class Noun(StrEnum):
    """What a word names; the keys of words.toml."""

    SUBJECT = "subject"
    CLOTHES = "clothes"
    PLACE = "place"
    FACE = "face"
    FEET = "feet"
    PEOPLE = "people"


def names(text: str, noun: Noun) -> bool:
    """Whether the text has a word of that kind; a possessive (women's) is none."""
    return _naming(noun).search(text) is not None


def is_forbidden(text: str) -> bool:
    """Whether it names feet, shoes or people beside the subject."""
    return names(text, Noun.FEET) or names(text, Noun.PEOPLE)


def without_bare_adjectives(text: str) -> str:
    """Without "barefoot" and "crowded" before a word: what they are said of may stay."""
    return _bare_adjectives().sub("", text)


@cache
def word_lists() -> dict[str, dict[str, str]]:
    with _FILE.open("rb") as file:
        return tomllib.load(file)


@cache
def words(table: str, kind: str) -> tuple[str, ...]:
    """The words of a table of words.toml."""
    return tuple(word_lists()[table][kind].split())


def any_of(choices: Iterable[str]) -> str:
    """A regular expression of one of them, the longest first."""
    return f"(?:{'|'.join(sorted(choices, key=len, reverse=True))})"


def whole(pattern: str) -> re.Pattern[str]:
    """Finds what `pattern` matches as whole words, whatever its case."""
    return re.compile(rf"(?<![{IN_WORD}]){pattern}(?![{IN_WORD}])", re.IGNORECASE)


@cache
def subject_pattern() -> str:
    """A regular expression, without groups of its own, of a noun phrase or pronoun of a person."""
    article, adjectives = r"(?:(?:a|an|the|this|one)\s+)?", rf"(?:(?!{_NO_ADJECTIVE})[\w-]+\s+)"
    nouns = any_of(words("nouns", Noun.SUBJECT))
    return rf"(?:{article}{adjectives}{{0,4}}?{nouns}|he|she|they)(?![{IN_WORD}])"


@cache
def _naming(noun: Noun) -> re.Pattern[str]:
    choices = any_of(words("nouns", noun))
    if noun is Noun.FEET:
        # A foot of a hill is none of a person's.
        return whole(rf"(?:foot(?!\s+of\b)|{choices}|{_adjectives(noun)})")
    if noun is Noun.PEOPLE:
        others = rf"{_COUNTS}\s+{any_of(words('nouns', Noun.SUBJECT))}s?"
        return whole(rf"(?:{choices}|{_adjectives(noun)}|{others})")
    return whole(choices)


@cache
def _bare_adjectives() -> re.Pattern[str]:
    choices = f"(?:{_adjectives(Noun.FEET)}|{_adjectives(Noun.PEOPLE)})"
    return re.compile(rf"(?<![{IN_WORD}]){choices}\s+(?=[A-Za-z])", re.IGNORECASE)


def _adjectives(noun: Noun) -> str:
    return any_of(words("adjectives", noun))
