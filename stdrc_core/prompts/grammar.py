"""Reads an English sentence: its words, and what part of speech each is.

Small words are known (words.toml), all others have the readings that the lexicon gives them, with
how often each is used; tagging.py chooses among them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

from .lexicon import Form, Reading, is_compound, readings
from .tagging import best_tags
from .tags import Candidates, Tag
from .text import QUOTE, TITLE
from .words import words

_Tags = dict[Tag, tuple[float, Reading | None]]


@dataclass(frozen=True)
class Token:
    """A word or a mark, and its place in the sentence."""

    start: int
    """Where it begins, in characters."""
    end: int
    """Where it ends."""
    word: str
    """The word in lower case, without brackets and weights."""
    tag: Tag
    """Its part of speech."""
    reading: Reading | None = None
    """Its reading in the lexicon, where it has one."""
    is_capital: bool = False
    """Whether it begins with a capital letter."""


_TOKEN = re.compile(
    rf"(?P<quote>{QUOTE})|(?P<word>{TITLE}|[(\[{{]*[^\W_][\w'\u2019-]*(?:\.\d+)?(?::[\d.]+)?[)\]}}]*)|"
    r"(?P<mark>\S)"
)
_CORE = re.compile(r"[^\W_][\w'-]*")
_SHORTENED = re.compile(r"(?<=[a-z])(?:'(?:s|re|ve|d|ll|m))(?!\w)")
_CAN_BE_SHORTENED = ("he", "she", "it", "they", "we", "i", "you", "who", "there", "that")
# The least logarithm for a reading of a word, however rare it is.
_LEAST = -3.5
_ADDED_TAGS = {
    Form.BASE: ((Tag.INFINITIVE, 0.0), (Tag.PRESENT, -0.7)),
    Form.THIRD: ((Tag.PRESENT, 0.0),),
    Form.PRESENT_PARTICIPLE: ((Tag.ING, 0.0), (Tag.ADJECTIVE, -2.0)),
    Form.PAST: ((Tag.ED, 0.0), (Tag.ADJECTIVE, -2.0)),
    Form.PAST_PARTICIPLE: ((Tag.ED, 0.0), (Tag.ADJECTIVE, -1.5)),
}
# What a word that the lexicon has not may be by its ending: "vlogs", "kickflipped".
_UNKNOWN_VERBS = (("s", Tag.PRESENT, -2.0), ("ed", Tag.ED, -0.5), ("ing", Tag.ING, -0.5))
# Small words that are names as well.
_NAMES_TOO = ("will", "may")
_OPEN_TAGS = {"n": Tag.NOUN, "j": Tag.ADJECTIVE, "r": Tag.ADVERB}
# The parts of speech of small words, as they are named in words.toml.
_TAGS_OF_SMALL = frozenset("DOUPCSWATR")


def read_sentence(text: str) -> list[Token]:
    """Returns the words and marks of one sentence, each with its part of speech."""
    return list(_read(text))


@lru_cache(maxsize=64)
def _read(text: str) -> tuple[Token, ...]:
    found: list[Candidates] = []
    for match in _TOKEN.finditer(text):
        if match["quote"]:
            found.append(Candidates(*match.span(), match[0], {Tag.QUOTE: (0.0, None)}))
        elif match["mark"]:
            found.append(Candidates(*match.span(), match[0], {Tag.MARK: (0.0, None)}))
        else:
            found += _words(match)
    _part_contractions(found)
    for this, following in pairwise(found):
        is_small = following.word in _small_tags()
        if this.word.endswith("ing") and not is_small and is_compound(this.word, following.word):
            this.tags = {Tag.ADJECTIVE: (0.0, None)}
    for before, this, following in zip(found, found[1:], found[2:], strict=False):
        is_thing = Tag.NOUN in following.tags and following.word not in _small_tags()
        if before.word == "in" and Tag.ING in this.tags and Tag.ADJECTIVE in this.tags and is_thing:
            # "in riding boots", "in falling snow"
            this.tags = {Tag.ADJECTIVE: (0.0, None)}
    return tuple(
        Token(each.start, each.end, each.word, tag, each.tags[tag][1], _is_capital(text, each))
        for each, tag in zip(found, best_tags(found), strict=True)
    )


def _is_capital(text: str, each: Candidates) -> bool:
    return text[each.start : each.end].lstrip("([{")[:1].isupper()


def _words(match: re.Match[str]) -> list[Candidates]:
    plain = match[0].lower().replace("\u2019", "'")
    core = _CORE.search(plain)
    assert core is not None, "the pattern of a token has it"
    word = core[0].strip("'-")
    is_name = match[0].lstrip("([{")[:1].isupper()
    short = _SHORTENED.search(plain)
    if short and plain[: short.start()] in _CAN_BE_SHORTENED:
        middle = match.start() + short.start()
        pronoun = plain[: short.start()]
        return [
            Candidates(match.start(), middle, pronoun, _candidates(pronoun, is_name=False)),
            Candidates(middle, match.end(), short[0], {Tag.AUXILIARY: (0.0, None)}),
        ]
    return [Candidates(*match.span(), word, _candidates(word, is_name=is_name))]


def _part_contractions(found: list[Candidates]) -> None:
    """Parts "man's" before "walking down" into a noun and "is"; before "walking stick" it stays."""
    for i in range(len(found) - 2, -1, -1):
        this, verb = found[i], found[i + 1]
        after = found[i + 2].tags if i + 2 < len(found) else {Tag.MARK: (0.0, None)}
        if (
            len(this.word) > 2
            and this.word.endswith("'s")
            and Tag.ING in verb.tags
            and not {Tag.NOUN, Tag.ADJECTIVE} & {*after}
        ):
            middle = this.end - 2
            noun = this.word.removesuffix("'s")
            found[i : i + 1] = [
                Candidates(this.start, middle, noun, _candidates(noun, is_name=False)),
                Candidates(middle, this.end, "'s", {Tag.AUXILIARY: (0.0, None)}),
            ]


def _candidates(word: str, *, is_name: bool) -> _Tags:
    small = _small_tags().get(word)
    if small is not None:
        tags: _Tags = {tag: (0.0, None) for tag in small}
        if {Tag.PREPOSITION, Tag.ADVERB} <= tags.keys():
            # "in" is an adverb at the end of what is said of a verb: "walks in".
            tags[Tag.ADVERB] = (-2.5, None)
        if is_name and word in _NAMES_TOO:
            tags[Tag.NOUN] = (-1.0, None)
        return tags
    if word.endswith("'s") or word.endswith("s'"):
        return {Tag.DETERMINER: (0.0, None)}
    if not word.isascii() or word[0].isdigit():
        return {Tag.DETERMINER: (-1.0, None), Tag.NOUN: (-1.0, None), Tag.ADJECTIVE: (-1.0, None)}
    found = readings(word)
    total = sum({(each.part, each.base): each.count + 1 for each in found}.values())
    tags = {}
    for each in found:
        log = max(math.log((each.count + 1) / total), _LEAST)
        choices = _ADDED_TAGS[each.form] if each.form else ((_OPEN_TAGS[each.part], 0.0),)
        if each.form is Form.PAST and not word.endswith("ed"):
            choices = choices[:1]
        for tag, less in choices:
            if tag not in tags or log + less > tags[tag][0]:
                tags[tag] = (log + less, each)
    if is_name or not tags or "-" in word:
        tags.setdefault(Tag.NOUN, (-1.5, None))
    if not found and _is_made_adjective(word):
        tags |= {Tag.ADJECTIVE: (0.0, None), Tag.NOUN: (-2.5, None)}
    if not found and "-" not in word:
        tags |= {tag: (log, None) for ending, tag, log in _UNKNOWN_VERBS if word.endswith(ending)}
    if (not found and not word.endswith("ly")) or "-" in word:
        tags.setdefault(Tag.ADJECTIVE, (-1.0, None))
    if word.endswith("ly"):
        tags.setdefault(Tag.ADVERB, (0.0, None))
    return tags


def _is_made_adjective(word: str) -> bool:
    """Returns whether a word that the lexicon has not is made as adjectives are: "misty"."""
    if word.endswith(("ish", "ful", "less", "ous")) or ("-" in word and word.endswith("ed")):
        return True
    noun = word.removesuffix("y")
    nouns = (noun, noun + "e", noun[:-1] if noun[-2:-1] == noun[-1:] else noun)
    return noun != word and any(each.part == "n" for form in nouns for each in readings(form))


@cache
def _small_tags() -> dict[str, list[Tag]]:
    found: dict[str, list[Tag]] = {}
    for tag in Tag:
        for word in words("tags", tag) if tag in _TAGS_OF_SMALL else ():
            found.setdefault(word, []).append(tag)
    return found
