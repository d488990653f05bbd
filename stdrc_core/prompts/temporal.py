"""The rules for the prompt of the motion, and how a prompt that breaks one is repaired.

The main subject's action comes first, the subject has one gender throughout, and the face does
something, as in IPVG-STD's temporal prompt polisher (docs/method.md section 8). The limits in words
are ours.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from itertools import pairwise

from .gender import Gender, is_consistent, with_gender
from .grammar import Token, read_sentence
from .noun_phrases import is_person, noun_phrase_end
from .subject import Acting, find_acting
from .tags import Tag
from .text import (
    capitalized,
    count_words,
    cut_words,
    one_line,
    split_sentences,
    uncapitalized,
    without_framing,
)
from .words import Noun, names, subject_pattern

# LTX's own advice on the length of prompts.
MAX_TEMPORAL_WORDS = 200
_MOVES = "moves naturally"
# The end of what is left before the subject once the subject has been moved to the front. A
# conjunction ("as") is dropped; a word that wants an object ("zooms in on") gets a pronoun.
_ENDS_OPEN = re.compile(r"(?:^|\s+)(?:as|while|and|where|when|with)$", re.IGNORECASE)
_WANTS_OBJECT = re.compile(
    r"\b(?:on|at|to|around|toward|towards|follows|tracks|past)$", re.IGNORECASE
)
# A quote may end in a comma of its own.
_TWO_COMMAS = re.compile("(,[\"'\u201d\u2019]),")
# What an item of a list may have: "onions, red carrots and peppers".
_IN_LIST = frozenset({Tag.DETERMINER, Tag.ADJECTIVE, Tag.NOUN, Tag.AND})
_POSSESSIVES = ("his", "her", "its", "their")
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

    Action first means that the prompt begins with the subject and says within eight words after it
    what the subject does, without a comma or a participle between. With `gender` None the prompt is
    about a man and a woman, and the rule on gender is not checked.
    """
    holds = {
        TemporalRule.ACTION_FIRST: _acts_first(text),
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
    end = "" if cut.rstrip("\"'\u201d\u2019").endswith(_ENDS) else "."
    return f"{cut}{end} {cue}"


def _with_action_first(text: str, gender: Gender) -> str:
    text = without_framing(text)
    if _acts_first(text):
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


def _acts_first(text: str) -> bool:
    """Returns whether a text begins with the main subject and, soon after it, its verb."""
    if _moves_first().match(text):
        return True
    first = next(iter(split_sentences(text)), "")
    acting = find_acting(first)
    return acting is not None and acting.subject_start == 0 and acting.is_close


def _turned_round(sentence: str, gender: Gender) -> str | None:
    """Returns the sentence with its acting subject in front, or None where it has none.

    "A woman, in red, walks home, smiling" becomes "A woman walks home, in red, smiling", and "In a
    garden, a woman dances" becomes "A woman dances, in a garden".
    """
    body, end = re.fullmatch(r"(.*?)([.!?]*)", sentence, re.DOTALL).groups()
    body = _with_quote_last(body)
    acting = find_acting(body)
    if acting is None:
        return None
    tokens, (first, after) = acting.tokens, (acting.subject_start, acting.subject_end)
    verb = after if acting.is_close else _with_adverbs(acting)
    stop = _phrase_end(tokens, acting.verb.end)
    before = _ENDS_OPEN.sub("", _told(body, tokens, 0, first)).rstrip(" ,;:-")
    if _WANTS_OBJECT.search(before):
        before = f"{before} {gender.objective}"
    subject = _told(body, tokens, first, after)
    named = noun_phrase_end(tokens, 0)
    is_pronoun = tokens[first].tag is Tag.SUBJECT_PRONOUN
    if is_pronoun and 0 < named < first and is_person(tokens[named - 1]):
        # "The woman is tall, and she glides" becomes "The woman glides, she is tall".
        has_verb = any(
            each.tag in (Tag.AUXILIARY, Tag.PRESENT, Tag.ED) for each in tokens[named:first]
        )
        before = before[tokens[named - 1].end :].strip(" ,;:-")
        before = f"{subject} {before}" if has_verb else before
        subject = _told(body, tokens, 0, named)
    elif is_pronoun:
        # "The camera follows a cyclist as she climbs": "A cyclist climbs, the camera follows them".
        start, stop_named = _named_before(tokens, first)
        if stop_named > start:
            subject = _told(body, tokens, start, stop_named)
            after_named = before[tokens[stop_named - 1].end :]
            before = f"{before[: tokens[start].start]}{gender.objective}{after_named}"
    action = f"{subject} {_told(body, tokens, verb, stop)}"
    # A clause of "who" that gave its verb begins with no word of its own.
    described = _told(body, tokens, after, verb - (tokens[verb - 1].tag is Tag.RELATIVE))
    rest = _told(body, tokens, stop, len(tokens))
    parts = (action, described, uncapitalized(before), rest)
    turned = capitalized(", ".join(part for part in parts if part))
    turned = _TWO_COMMAS.sub(r"\1", turned)
    if end or not turned.rstrip("\"'\u201d\u2019").endswith(_ENDS):
        turned += end or "."
    return turned if _acts_first(turned) else None


def _named_before(tokens: list[Token], stop: int) -> tuple[int, int]:
    """Returns the place of the first person before the index `stop`; an empty one if there is none.

    What tells of the person, such as "in a red jersey", is a part of it.
    """
    i = 0
    while i < stop:
        end = noun_phrase_end(tokens, i)
        if end > i and is_person(tokens[end - 1]):
            while end < stop and tokens[end].tag is Tag.PREPOSITION:
                further = noun_phrase_end(tokens, end + 1)
                if further == end + 1:
                    break
                end = further
            return i, end
        i = max(end, i + 1)
    return stop, stop


def _with_quote_last(text: str) -> str:
    """Returns the text with who says something before what is said.

    '"Wait," says a man in red' becomes 'A man says "Wait," in red'.
    """
    tokens = read_sentence(text)
    tags = [each.tag for each in tokens]
    if tags[:1] != [Tag.QUOTE] or len(tags) < 3 or tags[1] not in (Tag.ED, Tag.PRESENT):
        return text
    end = noun_phrase_end(tokens, 2)
    if end == 2 or not is_person(tokens[end - 1]):
        return text
    who, says = _told(text, tokens, 2, end), text[tokens[1].start : tokens[1].end]
    rest = text[tokens[end - 1].end :]
    return f"{capitalized(who)} {says} {text[tokens[0].start : tokens[0].end]}{rest}"


def _told(text: str, tokens: list[Token], start: int, end: int) -> str:
    """Returns the text of the tokens from `start` to `end`, without marks at its ends."""
    if start >= end:
        return ""
    return text[tokens[start].start : tokens[end - 1].end].strip(" ,;:-")


def _with_adverbs(acting: Acting) -> int:
    """Returns the index of the verb, or of "slowly" or "then" before it."""
    start = acting.verb.start
    while start > acting.subject_end and acting.tokens[start - 1].tag is Tag.ADVERB:
        start -= 1
    return start


def _phrase_end(tokens: list[Token], start: int) -> int:
    """Returns the index of the comma that ends what a verb governs, which may be a list."""
    marks = [i for i in range(start, len(tokens)) if tokens[i].tag is Tag.MARK] + [len(tokens)]
    stop = marks[0]
    for here, there in pairwise(marks):
        item = {each.tag for each in tokens[here + 1 : there]}
        if not item or not item <= _IN_LIST:
            break
        if tokens[here + 1].word in _POSSESSIVES:
            break
        if Tag.AND in item:
            return there
    return stop


@cache
def _moves_first() -> re.Pattern[str]:
    return re.compile(rf"{subject_pattern()}\s+{_MOVES}", re.IGNORECASE)
