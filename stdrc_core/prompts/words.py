"""The lists of English words in words.toml, and the regular expressions that are made of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("words.toml")
# The characters that a word may have, for a regular expression; \u2019 is the curved apostrophe.
IN_WORD = r"\w'\u2019-"

# A phrase may be cut before one of these words, which stays with what follows it.
CONNECTORS = (
    r"(?:and|or|but|with|without|in|on|at|by|near|beside|behind|among|amongst|amid|against|around|"
    r"through|past|under|over|inside|outside|across|along|between|beneath|before|beyond|from|into|"
    r"onto|toward|towards|wearing|surrounded|while|as|full of|filled|dressed|carrying|holding|"
    r"watched|next|opposite|down|up)"
)
BEFORE_CONNECTOR = re.compile(rf"\s+(?={CONNECTORS}\b)", re.IGNORECASE)
LONE_CONNECTOR = re.compile(rf"(?:{CONNECTORS}|next to|close to|of|to|the|a|an)", re.IGNORECASE)
# Words that cannot be an adjective between an article and its noun.
_NO_ADJECTIVE = r"(?:with|in|of|as|on|at|and|to|by|from|who|that|is|are|a|an|the|near|under|over)\b"
# What is spoken with a vowel in front.
_VOWEL = re.compile(r"(?!uni[^mn]|use|eu|one\b)[aeiou]|hour|honest|heir", re.IGNORECASE)
_COUNTS = r"(?:another|other|second|two|three|four|several|many|few)"


class Noun(StrEnum):
    """What a noun names; the values are keys in words.toml."""

    SUBJECT = "subject"
    CLOTHES = "clothes"
    PLACE = "place"
    FACE = "face"
    FEET = "feet"
    PEOPLE = "people"


def names(text: str, noun: Noun) -> bool:
    """Returns whether the text has a word of that kind; a possessive ("women's") does not count."""
    return _naming(noun).search(text) is not None


def is_forbidden(text: str) -> bool:
    """Returns whether the text names feet, shoes or people beside the subject."""
    return names(text, Noun.FEET) or names(text, Noun.PEOPLE)


def without_bare_adjectives(text: str) -> str:
    """Returns the text without adjectives such as "barefoot" and "crowded" before a word.

    The word itself may stay in a first frame.
    """
    return _bare_adjectives().sub(_article, text)


@cache
def word_lists() -> dict[str, dict[str, str]]:
    """Returns the tables of words.toml."""
    with _FILE.open("rb") as file:
        return tomllib.load(file)


@cache
def words(table: str, kind: str) -> tuple[str, ...]:
    """Returns the words of the list `kind` in a table of words.toml."""
    return tuple(word_lists()[table][kind].split())


def any_of(choices: Iterable[str]) -> str:
    """Returns a regular expression for any of `choices`, the longest first."""
    return f"(?:{'|'.join(sorted(choices, key=len, reverse=True))})"


def whole(pattern: str) -> re.Pattern[str]:
    """Compiles a regular expression that matches whole words alone, in upper or lower case."""
    return re.compile(rf"(?<![{IN_WORD}]){pattern}(?![{IN_WORD}])", re.IGNORECASE)


@cache
def subject_pattern() -> str:
    """Returns a regular expression for a noun phrase or pronoun of a person.

    It has no capturing groups.
    """
    article, adjectives = r"(?:(?:a|an|the|this|one)\s+)?", rf"(?:(?!{_NO_ADJECTIVE})[\w-]+\s+)"
    nouns = any_of(words("nouns", Noun.SUBJECT))
    return rf"(?:{article}{adjectives}{{0,4}}?{nouns}|he|she|they)(?![{IN_WORD}])"


@cache
def _naming(noun: Noun) -> re.Pattern[str]:
    choices = any_of(words("nouns", noun))
    if noun is Noun.FEET:
        # The foot of a hill is not a person's foot.
        return whole(rf"(?:foot(?!\s+of\b)|{choices}|{_adjectives(noun)})")
    if noun is Noun.PEOPLE:
        others = rf"{_COUNTS}\s+{any_of(words('nouns', Noun.SUBJECT))}s?"
        return whole(rf"(?:{choices}|{_adjectives(noun)}|{others})")
    return whole(choices)


@cache
def _bare_adjectives() -> re.Pattern[str]:
    choices = f"(?:{_adjectives(Noun.FEET)}|{_adjectives(Noun.PEOPLE)})"
    return re.compile(
        rf"(?<![{IN_WORD}])(?:(?P<article>an?)\s+)?{choices}\s+(?=[A-Za-z])",
        re.IGNORECASE,
    )


def _article(adjective: re.Match[str]) -> str:
    """Returns "a" or "an", as the word after the adjective needs it, where an article was."""
    if adjective["article"] is None:
        return ""
    has_vowel = _VOWEL.match(adjective.string, adjective.end()) is not None
    return f"{adjective['article'][0]}{'n' if has_vowel else ''} "


def _adjectives(noun: Noun) -> str:
    return any_of(words("adjectives", noun))
