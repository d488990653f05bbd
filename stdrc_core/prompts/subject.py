"""Finds a sentence's main subject and the verb of what it does."""

from __future__ import annotations

from dataclasses import dataclass

from .clauses import Says, VerbGroup, verb_groups
from .grammar import Token, read_sentence
from .noun_phrases import is_person, noun_phrase_end
from .tags import Tag
from .words import Noun, names, words

_MAX_GAP_WORDS = 8


@dataclass(frozen=True)
class Acting:
    """A subject and its verb, as indices of the sentence's tokens."""

    tokens: list[Token]
    """The sentence."""
    subject_start: int
    """The subject's first word."""
    subject_end: int
    """The index after its last word."""
    verb: VerbGroup
    """The group of its verb."""
    is_close: bool
    """Whether the verb follows within eight words, without a comma or a participle between."""


def find_acting(text: str) -> Acting | None:
    """Returns the first person or animal of a sentence that does something, and its verb.

    The verb of a main clause goes before all others; None where nobody does anything.
    """
    tokens = read_sentence(text)
    groups = verb_groups(tokens)
    subjects = _subjects(tokens, groups)
    main = _main_clause(tokens)
    for wants_main in (True, False):
        for start, end in subjects:
            if wants_main and start not in main:
                continue
            verb = _verb_of(tokens, end, groups, wants_finite=wants_main)
            if verb is not None:
                end = _with_partners(tokens, end, verb.start)
                return Acting(tokens, start, end, verb, _is_close(tokens, end, verb, groups))
    return None


def _is_act(group: VerbGroup) -> bool:
    if group.says in (Says.BE, Says.HAVE):
        return False
    if group.base == "wear" or (group.says is Says.STATE and group.base in words("verbs", "state")):
        return False
    if group.says is Says.STATE and group.base in words("verbs", "wear"):
        return group.finite and not group.passive
    return not (group.passive and group.base in words("verbs", "shown"))


def _subjects(tokens: list[Token], groups: list[VerbGroup]) -> list[tuple[int, int]]:
    """Returns the noun phrases and pronouns of persons, those that may be subjects first."""
    found, others = [], []
    i = 0
    in_verbs = {i for each in groups for i in range(each.start, each.end)}
    while i < len(tokens):
        end = i + 1 if tokens[i].tag is Tag.SUBJECT_PRONOUN else noun_phrase_end(tokens, i)
        if end == i or i in in_verbs:
            i += 1
            continue
        head = _head(tokens, i, end)
        before = tokens[i - 1] if i else None
        if is_person(head) or _is_name(tokens, i, end) or _is_of_person(tokens, i, end, head):
            free = before is None or (
                before.tag not in (Tag.PREPOSITION, Tag.TO) and i - 1 not in in_verbs
            )
            (found if free else others).append((i, end))
        i = end
    return found + others


def _head(tokens: list[Token], start: int, end: int) -> Token:
    """Returns the noun that a noun phrase is about, before its "of"."""
    stop = next((i for i in range(start, end) if tokens[i].word == "of"), end)
    nouns = [each for each in tokens[start:stop] if each.tag in (Tag.NOUN, Tag.SUBJECT_PRONOUN)]
    return nouns[-1] if nouns else tokens[end - 1]


def _is_name(tokens: list[Token], start: int, end: int) -> bool:
    """Returns whether a noun phrase is a name: a noun alone that nobody can count as a mass."""
    token = tokens[start]
    is_titled = token.word in words("nouns", "title")
    return is_titled or (
        end == start + 1
        and token.tag is Tag.NOUN
        and token.is_capital
        and not (token.reading is not None and token.reading.is_plural)
        and (start > 0 or token.word not in words("nouns", "mass"))
    )


def _is_of_person(tokens: list[Token], start: int, end: int, head: Token) -> bool:
    """Returns whether a noun phrase is a part of somebody: "her eyes", "the man's hands"."""
    owners = [each.word for each in tokens[start:end] if each.tag is Tag.DETERMINER]
    is_part = head.word in words("nouns", "unseen") or any(
        names(head.word, each) for each in (Noun.FACE, Noun.CLOTHES)
    )
    return is_part and any(
        each in ("his", "her", "their") or each.endswith("'s") for each in owners
    )


def _with_partners(tokens: list[Token], end: int, stop: int) -> int:
    """Returns the end of a subject with those whom "and" joins to it before the verb at `stop`.

    "A man in a suit and a woman" is one subject; so is "a boy named Tom".
    """
    if end + 1 < stop and tokens[end].word in ("named", "called"):
        end = max(end, noun_phrase_end(tokens, end + 1))
    found, i = end, end
    while i < stop and tokens[i].tag is not Tag.MARK:
        partner = noun_phrase_end(tokens, i + 1) if tokens[i].tag is Tag.AND else i
        if partner > i + 1 and is_person(_head(tokens, i + 1, partner)):
            found = i = partner
        else:
            i += 1
    return found


def _main_clause(tokens: list[Token]) -> set[int]:
    """Returns the indices of the words that are in no clause of "while", "as" or "who"."""
    found, is_main = set(), True
    for i, token in enumerate(tokens):
        if token.tag is Tag.CONJUNCTION:
            is_main = False
        elif token.tag is Tag.MARK:
            is_main = True
        if is_main:
            found.add(i)
    return found


def _verb_of(
    tokens: list[Token], end: int, groups: list[VerbGroup], *, wants_finite: bool
) -> VerbGroup | None:
    """Returns the verb of the subject that ends at `end`.

    That of a clause of "who" is taken where there is no other.
    """
    is_relative, in_relative = False, False
    relative: VerbGroup | None = None
    for i in range(end, len(tokens)):
        if tokens[i].tag in (Tag.CONJUNCTION, Tag.SUBJECT_PRONOUN) or tokens[i].word == ";":
            break
        is_relative = is_relative or tokens[i].tag is Tag.RELATIVE
        in_relative = in_relative and tokens[i].tag is not Tag.MARK
        group = next((each for each in groups if each.start == i), None)
        if group is None:
            continue
        # "who turns and grins" has two verbs.
        is_relative = is_relative or (in_relative and tokens[i - 1].tag is Tag.AND)
        if not _is_act(group):
            in_relative = is_relative and group.finite
            is_relative = is_relative and not group.finite
            continue
        if (wants_finite and not group.finite) or _is_of_other(tokens, end, group):
            continue
        if not wants_finite and not group.finite and tokens[group.end - 1].tag is not Tag.ING:
            continue
        if not is_relative:
            return group
        relative, is_relative, in_relative = relative or group, False, True
    return relative


def _is_of_other(tokens: list[Token], end: int, group: VerbGroup) -> bool:
    """Returns whether a noun phrase after a comma is the subject: ", the camera follows"."""
    marks = [i for i in range(end, group.start) if tokens[i].tag is Tag.MARK]
    if not marks:
        return False
    start = marks[-1] + 1
    after = noun_phrase_end(tokens, start)
    return after > start and all(each.tag is Tag.ADVERB for each in tokens[after : group.start])


def _is_close(tokens: list[Token], end: int, verb: VerbGroup, groups: list[VerbGroup]) -> bool:
    gap = tokens[end : verb.start]
    has_participle = any(
        end <= each.start < verb.start and not each.finite and verb.finite for each in groups
    )
    return (
        len(gap) <= _MAX_GAP_WORDS
        and not has_participle
        and not any(each.tag is Tag.MARK for each in gap)
    )
