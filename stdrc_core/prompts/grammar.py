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
from itertools import pairwise

from .lexicon import Form, Kind, Reading, forms_of, is_compound, readings
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
# The least logarithm for a reading of a word, however rare it is.
_LEAST = -3.5
# For a sentence without a verb.
_NO_VERB = -3.0
_AFTER_SUBJECT = (Tag.PREPOSITION, Tag.TO, Tag.ED, Tag.ING, Tag.MARK)
_IN_LIST = (Tag.DETERMINER, Tag.ADJECTIVE, Tag.NOUN, Tag.AND)
_OPENS = (Tag.CONJUNCTION, Tag.RELATIVE, Tag.SUBJECT_PRONOUN)
_AFTER_VERB = "D0 P-.2 R-.2 N-1 J-1.5 U-.7 K-.7 C-1 S-.7 T-.7 G-2 V-4 Q-1 W-2 .-.3"
_AFTER = {
    "^": "D0 N-.7 J-1 O-.3 P-.7 G-1.5 S-1 R-1.2 V-1.7 F-4 A-4 Q-3 T-2 K-3 C-3 U-6",
    "D": "J0 N0 D-1.5 R-3 Q-3",
    "J": "N0 J-.7 C-1.3 P-1.3 K-.7 S-2 T-1.5 .-1 R-3 A-4 F-5 V-5 G-4 W-3 D-4",
    "N": "N-1.6 P-.3 F-.8 V-1 G-1.2 A-.5 C-.7 K-.3 W-.8 S-.8 R-1 T-1.3 .0 J-3 D-2.5 O-3.5 Q-3",
    "O": "F0 A-.2 V-.2 R-.7 K-4 G-4 D-4 .-3 C-3",
    "U": "P-.5 K-.5 C-1 .-.3 R-1 S-1 G-1.5 I-1.5 T-1.5 D-2 J-2 F-5 A-5",
    "P": "D0 N-.5 J-.8 G-1.5 U-1 R-3 P-1.5 Q-2 W-2 T-4",
    "C": "D-.5 N-.8 J-.8 P-1 G-1 V-1 F-1 R-1 O-1 S-1.5 A-1.5 T-2 I-2.5 W-2.5",
    "S": "D0 O0 N-.5 J-1 G-.9 P-1.7 V-2.5 R-2 C-4",
    "W": "F0 A0 V0 R-1 D-1.5 O-1 N-.8 J-1.5 P-4",
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
    Form.PAST: ((Tag.ED, 0.0), (Tag.ADJECTIVE, -2.0)),
    Form.PAST_PARTICIPLE: ((Tag.ED, 0.0), (Tag.ADJECTIVE, -1.5)),
}
_OPEN_TAGS = {"n": Tag.NOUN, "j": Tag.ADJECTIVE, "r": Tag.ADVERB}


_Tags = dict[Tag, tuple[float, Reading | None]]


@dataclass
class _Candidates:
    """A word or mark with all tags that it may have: how likely each is, and its reading."""

    start: int
    end: int
    word: str
    tags: _Tags


def read_sentence(text: str) -> list[Token]:
    """Returns the words and marks of one sentence, each with its part of speech."""
    found: list[_Candidates] = []
    for match in _TOKEN.finditer(text):
        if match["quote"]:
            found.append(_Candidates(*match.span(), match[0], {Tag.QUOTE: (0.0, None)}))
        elif match["mark"]:
            found.append(_Candidates(*match.span(), match[0], {Tag.MARK: (0.0, None)}))
        else:
            found += _words(match)
    _part_contractions(found)
    for this, following in pairwise(found):
        is_small = following.word in _small_tags()
        if this.word.endswith("ing") and not is_small and is_compound(this.word, following.word):
            this.tags = {Tag.ADJECTIVE: (0.0, None)}
    return _best_sequence(text, found)


def _words(match: re.Match[str]) -> list[_Candidates]:
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
            _Candidates(match.start(), middle, pronoun, _candidates(pronoun, is_name=False)),
            _Candidates(middle, match.end(), short[0], {Tag.AUXILIARY: (0.0, None)}),
        ]
    return [_Candidates(*match.span(), word, _candidates(word, is_name=is_name))]


def _part_contractions(found: list[_Candidates]) -> None:
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
                _Candidates(this.start, middle, noun, _candidates(noun, is_name=False)),
                _Candidates(middle, this.end, "'s", {Tag.AUXILIARY: (0.0, None)}),
            ]


def _candidates(word: str, *, is_name: bool) -> _Tags:
    small = _small_tags().get(word)
    if small is not None:
        tags: _Tags = {tag: (0.0, None) for tag in small}
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
        log = max(math.log((each.count + 1) / total), _LEAST)
        choices = _ADDED_TAGS[each.form] if each.form else ((_OPEN_TAGS[each.part], 0.0),)
        if each.form is Form.PAST and not word.endswith("ed"):
            choices = choices[:1]
        for tag, less in choices:
            if tag not in tags or log + less > tags[tag][0]:
                tags[tag] = (log + less, each)
    if is_name or not tags or "-" in word:
        tags.setdefault(Tag.NOUN, (-1.5, None))
    if (not found and not word.endswith("ly")) or "-" in word:
        tags.setdefault(Tag.ADJECTIVE, (-1.0, None))
    if word.endswith("ly"):
        tags.setdefault(Tag.ADVERB, (0.0, None))
    return tags


@dataclass(frozen=True)
class _State:
    """What the words so far leave to the next one."""

    tag: str = "^"
    has_verb: bool = False
    """Whether the sentence has a verb."""
    has_relative: bool = False
    """Whether it has the verb of a clause of "who"."""
    owes: str = ""
    """The tag of what began a clause, such as "while", that has no verb yet."""
    clause_has_verb: bool = False
    """Whether no mark or conjunction came since the last finite verb."""
    number: str = ""
    """Whether the subject is "one" or "many"; empty before it is known."""
    is_past_subject: bool = False
    """Whether the words are beyond the subject's own noun phrase, so that it stays as it is."""
    has_and: bool = False
    """Whether "and" came before, so that a verb may be in the plural."""
    is_bare: bool = False
    """Whether the last noun is in the singular and follows a comma without an article."""
    is_listing: bool = False
    """Whether nouns alone came since the last comma, so that "and" joins one more."""


def _best_sequence(text: str, found: list[_Candidates]) -> list[Token]:
    best: dict[_State, tuple[float, tuple[Tag, ...]]] = {_State(): (0.0, ())}
    for each in found:
        reached: dict[_State, tuple[float, tuple[Tag, ...]]] = {}
        for state, (score, path) in best.items():
            for tag, (own, reading) in each.tags.items():
                total = score + own + _transition(state.tag, tag) + _fit(state, tag, reading)
                then = _next(state, tag, each.word, reading)
                if then not in reached or total > reached[then][0]:
                    reached[then] = (total, (*path, tag))
        best = reached
    path = max(
        (score + _transition(state.tag, ".") + _end(state), path)
        for state, (score, path) in best.items()
    )[1]
    return [
        Token(each.start, each.end, each.word, tag, each.tags[tag][1], _is_capital(text, each))
        for each, tag in zip(found, path, strict=True)
    ]


def _is_capital(text: str, each: _Candidates) -> bool:
    return text[each.start : each.end].lstrip("([{")[:1].isupper()


def _next(state: _State, tag: Tag, word: str, reading: Reading | None) -> _State:
    is_finite = tag in (Tag.PRESENT, Tag.AUXILIARY) or (
        tag is Tag.ED and state.tag != Tag.AUXILIARY and not _is_of_state(reading)
    )
    opens = tag in _OPENS
    owes = state.owes
    if opens:
        owes = tag
    elif is_finite or tag in (Tag.ING, Tag.ED, Tag.MARK):
        owes = ""
    has_verb = is_finite and not state.owes
    number, is_past = state.number, state.is_past_subject
    ends_first_clause = tag is Tag.MARK and state.clause_has_verb and not state.has_verb
    if opens or ends_first_clause:
        # The subject is yet to come, as after "As waves crash,".
        number, is_past = "", False
    elif tag is Tag.NOUN and not is_past:
        is_plural = reading is not None and reading.is_plural
        number = "many" if is_plural or state.has_and else "one"
        if word in words("nouns", "collective"):
            number = "any"
    is_past = is_past or (number != "" and tag in _AFTER_SUBJECT)
    starts_bare = state.tag in ("^", Tag.MARK) or (state.is_bare and state.tag == Tag.ADJECTIVE)
    return _State(
        tag=tag,
        has_verb=state.has_verb or has_verb,
        has_relative=state.has_relative or (is_finite and state.owes == Tag.RELATIVE),
        owes=owes,
        clause_has_verb=(is_finite and state.owes != Tag.RELATIVE)
        or (state.clause_has_verb and not opens and tag not in (Tag.MARK, Tag.AND)),
        number=number,
        is_past_subject=is_past,
        has_and=word == "and" or (state.has_and and not opens and tag is not Tag.PRESENT),
        is_listing=tag is Tag.MARK or (state.is_listing and tag in _IN_LIST),
        is_bare=(state.is_bare and tag is Tag.PRESENT)
        or starts_bare
        and (tag is Tag.ADJECTIVE or (tag is Tag.NOUN and not (reading and reading.is_plural))),
    )


def _fit(state: _State, tag: Tag, reading: Reading | None) -> float:
    """Returns what speaks for a tag or against it: number, tense, verbs that are owed or many."""
    less = 0.0
    if state.owes and tag in (Tag.MARK, Tag.CONJUNCTION):
        less -= 3.0
    elif state.owes and tag in (Tag.PRESENT, Tag.AUXILIARY, Tag.ED):
        less += 1.0
    if tag is Tag.MARK and state.tag == Tag.PRESENT and state.is_bare and state.is_past_subject:
        # "cherry blossoms," has a noun.
        less -= 4.0
    follows_noun = state.tag in (Tag.NOUN, Tag.ADVERB)
    is_base = reading is not None and reading.form is Form.BASE
    if tag is Tag.PRESENT and is_base and state.number == "one" and state.tag != Tag.AUXILIARY:
        less -= 1.5 if state.has_and else 5.0
    elif tag is Tag.PRESENT and follows_noun:
        if is_base and state.number not in ("many", "any"):
            less -= 1.5 if state.has_and else 5.0
        elif not is_base and state.number == "many":
            less -= 5.0
        less -= 4.0 if state.is_bare and state.is_past_subject else 0.0
    if tag is Tag.PRESENT and state.tag == Tag.AND and state.is_listing:
        less -= 4.0
    if tag in (Tag.PRESENT, Tag.AUXILIARY) and state.clause_has_verb and follows_noun:
        less -= 2.5
    is_past = reading is not None and reading.form is Form.PAST
    if tag is Tag.ED and state.tag == "^" and is_past:
        # "Rose" at the beginning is a name.
        less -= 0.0 if reading and _is_participle_too(reading.base) else 5.0
    return less


def _end(state: _State) -> float:
    missing = 0.0 if state.has_verb else _NO_VERB / 2 if state.has_relative else _NO_VERB
    if state.tag == Tag.PRESENT and state.is_bare and state.is_past_subject:
        missing -= 4.0
    return missing - (3.0 if state.owes else 0.0)


def _is_of_state(reading: Reading | None) -> bool:
    return reading is not None and reading.base in words("verbs", "state")


def _is_participle_too(base: str) -> bool:
    return not set(forms_of(base)[Form.PAST]).isdisjoint(forms_of(base)[Form.PAST_PARTICIPLE])


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
        kind in (Kind.PERSON, Kind.ANIMAL)
        or token.word in words("nouns", "subject")
        or token.word in words("nouns", "collective")
    )
