"""The parts of speech of the words of a sentence, and what each word may be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .lexicon import Reading


class Tag(StrEnum):
    """The part of speech of a word in its sentence."""

    DETERMINER = "D"
    ADJECTIVE = "J"
    NOUN = "N"
    SUBJECT_PRONOUN = "O"
    OBJECT_PRONOUN = "U"
    PREPOSITION = "P"
    AND = "C"
    CONJUNCTION = "S"
    RELATIVE = "W"
    AUXILIARY = "A"
    PRESENT = "F"
    """A verb in the present tense, which has a subject."""
    ED = "V"
    """A verb in the past tense or its past participle."""
    ING = "G"
    INFINITIVE = "I"
    ADVERB = "R"
    TO = "T"
    MARK = "K"
    """A comma, semicolon, colon or dash."""
    QUOTE = "Q"
    """What somebody says, in quotes."""


VERBS = frozenset({Tag.AUXILIARY, Tag.PRESENT, Tag.ED, Tag.ING, Tag.INFINITIVE})


@dataclass
class Candidates:
    """A word or mark of a sentence with all tags that it may have."""

    start: int
    """Where it begins, in characters."""
    end: int
    """Where it ends."""
    word: str
    """The word in lower case, without brackets and weights."""
    tags: dict[Tag, tuple[float, Reading | None]]
    """For each tag the logarithm of how likely it is, and the word's reading."""
