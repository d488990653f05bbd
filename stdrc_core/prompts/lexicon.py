"""The English lexicon lexicon.tsv: which parts of speech a word can be, and how often it is each.

A line is a word and its parts of speech, with tabs between: `v` for a verb, `n` a noun, `j` an
adjective, `r` an adverb, each with a count of uses. A noun's count is followed by its `Kind`. Forms
that are not regular stand after a colon, of a verb the third person, participle, past and past
participle. Of two words, such as "running shoe" and "pick up", only the part of speech is there.
build_lexicon.py makes the file; lexicon_licences.txt has its sources.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from ..text_files import read_lines
from .inflection import regular_plural, regular_verb_forms

# The ending of a regular form -> those that its dictionary form may have in its place.
_ENDINGS = (
    ("s", ("",)),
    ("es", ("",)),
    ("ies", ("y",)),
    ("ing", ("", "e")),
    ("ying", ("ie",)),
    ("ed", ("", "e")),
    ("ied", ("y",)),
)
FILE = Path(__file__).with_name("lexicon.tsv")


class Kind(StrEnum):
    """What a noun names; a noun of several kinds has the first of them."""

    PERSON = "p"
    ANIMAL = "a"
    THING = "t"
    """All else that a picture can show: things, places, weather, parts of the body."""
    IDEA = "i"
    """What no picture shows by itself: acts, times, feelings."""


class Form(StrEnum):
    """The form of a verb."""

    BASE = "base"
    THIRD = "third person"
    PRESENT_PARTICIPLE = "present participle"
    PAST = "past"
    PAST_PARTICIPLE = "past participle"


@dataclass(frozen=True)
class Reading:
    """One way to read a word: as a form of a verb, a noun, an adjective or an adverb."""

    part: str
    """`v`, `n`, `j` or `r`."""
    base: str
    """The dictionary form."""
    count: int
    """How often the dictionary form is used as this part of speech."""
    form: Form | None = None
    """The form of a verb."""
    kind: Kind | None = None
    """The kind of a noun."""
    is_plural: bool = False
    """Whether a noun is in the plural."""


@cache
def present_participle(base: str) -> str:
    """Returns the present participle of a verb: "running" for "run"."""
    return forms_of(base)[Form.PRESENT_PARTICIPLE][0]


def is_compound(first: str, second: str) -> bool:
    """Returns whether two words are one noun, as "running shoes" are."""
    bases = {each.base for each in readings(second) if each.part == "n"}
    return any(entries().get(f"{first} {base}") == ["n"] for base in bases)


def is_phrasal(verb: str, particle: str) -> bool:
    """Returns whether a verb and the word after it are one verb, as "pick up" is."""
    return entries().get(f"{verb} {particle}") == ["v"]


@cache
def readings(word: str) -> tuple[Reading, ...]:
    """Returns all ways to read a word in lower case; none for one that the lexicon has not."""
    found = []
    for base in dict.fromkeys((word, *_irregular_bases().get(word, ()), *_stems(word))):
        for field in entries().get(base, ()):
            found += _readings_of(word, base, field)
    return tuple(found)


@cache
def entries() -> dict[str, list[str]]:
    """Returns the words of the file, each with its parts of speech as they stand there."""
    lines = (line.split("\t") for line in read_lines(FILE))
    return {word: fields for word, *fields in lines}


@cache
def _irregular_bases() -> dict[str, list[str]]:
    """Returns a table from each form that the file spells out to its dictionary forms."""
    found: dict[str, list[str]] = defaultdict(list)
    for word, fields in entries().items():
        for field in fields:
            for form in re.split("[,/]", field.partition(":")[2]):
                found[form].append(word)
    return found


def _stems(word: str) -> Iterator[str]:
    """Yields what a regular form may be of; whether it is one, `_readings_of` finds."""
    for ending, replacements in _ENDINGS:
        if word.endswith(ending):
            for replacement in replacements:
                yield word.removesuffix(ending) + replacement


def _readings_of(word: str, base: str, field: str) -> Iterator[Reading]:
    part, facts, given = field[0], *field[1:].split(":"), *([] if ":" in field else [""])
    if part == "v":
        for form, spellings in forms_of(base).items():
            if word in spellings:
                yield Reading("v", base, int(facts), form=form)
    elif part == "n":
        # A noun such as "snow", which is its own plural, counts as singular.
        is_plural = word != base and word in (given or regular_plural(base)).split("/")
        if is_plural or word == base:
            yield Reading("n", base, int(facts[:-1]), kind=Kind(facts[-1]), is_plural=is_plural)
    elif word == base:
        yield Reading(part, base, int(facts))


@cache
def forms_of(base: str) -> dict[Form, list[str]]:
    """Returns all forms of a verb, each with its spellings."""
    given = next((f.partition(":")[2] for f in entries().get(base, ()) if f[0] == "v"), "")
    forms = (base, *(given.split(",") if given else regular_verb_forms(base)))
    return {form: spellings.split("/") for form, spellings in zip(Form, forms, strict=True)}
