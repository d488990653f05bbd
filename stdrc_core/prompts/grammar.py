"""Reads an English sentence: its words, what part of speech each is, and its groups of verbs.

Each word has one `Tag`. Small words are known (words.toml), all others have the readings that the
lexicon gives them, with how often each is used. Of all sequences of tags that one is taken whose
sum of logarithms is the greatest, over the words and over neighbouring tags (Viterbi's algorithm).
The numbers for neighbours are ours, set by hand.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from .lexicon import Form, Kind, Reading, readings
from .text import QUOTE
from .words import words


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
    rf"(?P<quote>{QUOTE})|(?P<word>[(\[{{]*[^\W_][\w'\u2019-]*(?:\.\d+)?(?::[\d.]+)?[)\]}}]*)|"
    r"(?P<mark>\S)"
)
_CORE = re.compile(r"[^\W_][\w'-]*")
_SHORTENED = re.compile(r"(?<=[a-z])(?:'(?:s|re|ve|d|ll|m))(?!\w)")
_CAN_BE_SHORTENED = ("he", "she", "it", "they", "we", "i", "you", "who", "there", "that")

# Logarithms for a tag after another one; what is not here counts _RARE.
_RARE = -7.0
_AFTER_VERB = "D0 P-.2 R-.2 N-1 J-1.5 U-.7 K-.7 C-1 S-.7 T-.7 G-2 V-4 Q-1 W-2 .-.3"
_AFTER = {
    "^": "D0 N-.7 J-1 O-.3 P-.7 G-1.5 S-1 R-1.2 V-1.7 F-4 A-4 Q-3 T-2 K-3 C-3 U-6",
    "D": "J0 N0 D-1.5 R-2 Q-3",
    "J": "N0 J-.7 C-1.3 P-1.3 K-.7 S-2 T-1.5 .-1 R-3 A-4 F-5 V-5 G-4 W-3 D-4",
    "N": "N-1.6 P-.3 F-.8 V-1 G-1.2 A-.5 C-.7 K-.3 W-.8 S-.8 R-1 T-1.3 .0 J-3 D-2.5 O-3.5 Q-3",
    "O": "F0 A-.2 V-.2 R-.7 K-4 G-4 D-4 .-3 C-3",
    "U": "P-.5 K-.5 C-1 .-.3 R-1 S-1 G-1.5 I-1.5 T-1.5 D-2 J-2 F-5 A-5",
    "P": "D0 N-.5 J-.8 G-1.5 U-1 R-3 P-1.5 Q-2 W-2 T-4",
    "C": "D-.5 N-.8 J-.8 P-1 G-1 V-1 F-1 R-1 O-1 S-1.5 A-1.5 T-2 I-2.5 W-2.5",
    "S": "D0 O0 N-.5 J-1 G-.9 P-1.7 V-2.5 R-2 C-4",
    "W": "F0 A0 V0 R-1 D-1.5 O-1 N-1.5 J-3 P-4",
    "A": "G0 V0 R-.4 I0 A-.3 J-.5 D-.5 P-.7 N-1.5 T-2 U-3 O-3 K-2.5 .-3",
    "F": _AFTER_VERB,
    "V": _AFTER_VERB + " F-5 A-5",
    "G": _AFTER_VERB + " F-4 A-4",
    "I": _AFTER_VERB,
    "R": "F-.7 V-.7 G-.7 J-.8 R-1 P-.7 K-.8 C-1 S-1 D-1.2 N-2.5 O-2 U-3 A-1 .-.5 I-1.2 T-1 W-3",
    "T": "I0 D0 N-.7 J-1 U-.7 R-2 Q-3 A-2",
    "K": "D-.5 N-.7 J-.8 P-.7 G-.7 V-.9 F-1.5 C-.5 S-.6 O-.6 W-.8 R-.8 A-1.5 Q-1 T-1.5 K-2 I-4",
    "Q": "D-1 N-1 J-1 O-1 P-1 G-1 V-1 F-1 A-1 C-.5 S-1 R-1 K-.3 .0 W-2 T-1",
}  # fmt: skip
_ADDED_TAGS = {
    Form.BASE: ((Tag.INFINITIVE, 0.0), (Tag.PRESENT, -0.7)),
    Form.THIRD: ((Tag.PRESENT, 0.0),),
    Form.PRESENT_PARTICIPLE: ((Tag.ING, 0.0), (Tag.ADJECTIVE, -2.0)),
    Form.PAST: ((Tag.ED, 0.0),),
    Form.PAST_PARTICIPLE: ((Tag.ED, 0.0), (Tag.ADJECTIVE, -1.5)),
}
_OPEN_TAGS = {"n": Tag.NOUN, "j": Tag.ADJECTIVE, "r": Tag.ADVERB}


def read_sentence(text: str) -> list[Token]:
    """Returns the words and marks of one sentence, each with its part of speech."""
    found: list[tuple[int, int, str, dict[Tag, tuple[float, Reading | None]]]] = []
    for match in _TOKEN.finditer(text):
        if match["quote"]:
            found.append((*match.span(), match[0], {Tag.QUOTE: (0.0, None)}))
        elif match["mark"]:
            found.append((*match.span(), match[0], {Tag.MARK: (0.0, None)}))
        else:
            found += _words(match)
    return _best_sequence(text, found)


def _words(
    match: re.Match[str],
) -> list[tuple[int, int, str, dict[Tag, tuple[float, Reading | None]]]]:
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
            (match.start(), middle, pronoun, _candidates(pronoun, is_name=False)),
            (middle, match.end(), short[0], {Tag.AUXILIARY: (0.0, None)}),
        ]
    return [(*match.span(), word, _candidates(word, is_name=is_name))]


def _candidates(word: str, *, is_name: bool) -> dict[Tag, tuple[float, Reading | None]]:
    small = _small_tags().get(word)
    if small is not None:
        tags: dict[Tag, tuple[float, Reading | None]] = {tag: (0.0, None) for tag in small}
        if is_name and Tag.AUXILIARY in small:
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
        log = math.log((each.count + 1) / total)
        choices = _ADDED_TAGS[each.form] if each.form else ((_OPEN_TAGS[each.part], 0.0),)
        for tag, less in choices:
            if tag not in tags or log + less > tags[tag][0]:
                tags[tag] = (log + less, each)
    if is_name or not tags or "-" in word:
        tags.setdefault(Tag.NOUN, (-1.5, None))
    if not found and not word.endswith("ly") or "-" in word:
        tags.setdefault(Tag.ADJECTIVE, (-1.0, None))
    if word.endswith("ly"):
        tags.setdefault(Tag.ADVERB, (0.0, None))
    return tags


def _best_sequence(
    text: str,
    found: list[tuple[int, int, str, dict[Tag, tuple[float, Reading | None]]]],
) -> list[Token]:
    best: dict[str, tuple[float, tuple[Tag, ...]]] = {"^": (0.0, ())}
    for *_, candidates in found:
        best = {
            tag: max(
                (score + own + _transition(before, tag), (*path, tag))
                for before, (score, path) in best.items()
            )
            for tag, (own, _) in candidates.items()
        }
    path = max((score + _transition(tag, "."), path) for tag, (score, path) in best.items())[1]
    return [
        Token(start, end, word, tag, candidates[tag][1], text[start:end].lstrip("([{")[:1].isupper())
        for (start, end, word, candidates), tag in zip(found, path, strict=True)
    ]


@cache
def _transition(before: str, tag: str) -> float:
    for each in _AFTER[before].split():
        if each[0] == tag:
            return float(each[1:])
    return _RARE if tag != "." else -3.0


@cache
def _small_tags() -> dict[str, list[Tag]]:
    found: dict[str, list[Tag]] = {}
    for tag in Tag:
        for word in words("tags", tag) if tag in _TAGS_OF_SMALL else ():
            found.setdefault(word, []).append(tag)
    return found


_TAGS_OF_SMALL = frozenset("DOUPCSWATR")


def is_person(token: Token) -> bool:
    """Returns whether a noun or pronoun is of a person or an animal, by the lexicon."""
    if token.tag is Tag.SUBJECT_PRONOUN:
        return token.word in ("he", "she", "they", "i", "we", "you")
    kind = token.reading.kind if token.reading else None
    return token.tag is Tag.NOUN and (
        kind in (Kind.PERSON, Kind.ANIMAL) or token.word in words("nouns", "subject")
    )
