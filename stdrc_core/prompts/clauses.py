"""The groups of verbs in a sentence: which are finite, what each says, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .grammar import Token
from .lexicon import Form, readings
from .tags import VERBS, Tag
from .words import words


class Says(StrEnum):
    """What a group of verbs says of its subject."""

    ACTION = "action"
    STATE = "state"
    """How the subject is or is dressed, what it holds, its posture or its face."""
    HAVE = "have"
    """What the subject has."""
    BE = "be"
    """That the subject is something or somewhere."""


@dataclass(frozen=True)
class VerbGroup:
    """A verb with the auxiliaries and adverbs before it."""

    start: int
    """The index of its first word."""
    end: int
    """The index after its last word."""
    base: str
    """The dictionary form of its verb; "be" or "have" where it has auxiliaries alone."""
    finite: bool
    """Whether it is the verb of a clause; participles and infinitives are not."""
    passive: bool
    """Whether it is a past participle with a form of "be"."""
    says: Says
    """What it says of its subject."""


_BE = {"is", "are", "was", "were", "am", "be", "been", "being", "'s", "'re"}
_BE |= {"isn't", "aren't", "wasn't", "weren't"}
_HAVE = {"has", "have", "had", "having", "'ve", "hasn't", "haven't", "hadn't"}
_DO = {"do", "does", "did"}
_OPENS_CLAUSE = frozenset({Tag.CONJUNCTION, Tag.RELATIVE, Tag.SUBJECT_PRONOUN})
_LOOKS = ("posture", "facial", "wear")


def verb_groups(tokens: list[Token]) -> list[VerbGroup]:
    """Returns all groups of verbs of a sentence, in order."""
    found: list[VerbGroup] = []
    i = 0
    while i < len(tokens):
        end = _group_end(tokens, i)
        if end > i:
            found.append(_group(tokens, i, end, found))
            i = end
        else:
            i += 1
    return found


def base_of(token: Token) -> str:
    """Returns the dictionary form of a verb."""
    return token.reading.base if token.reading else token.word


def previous(tokens: list[Token], i: int) -> Token | None:
    """Returns the nearest word before the index `i` that is no adverb."""
    return next((each for each in reversed(tokens[:i]) if each.tag is not Tag.ADVERB), None)


def _group_end(tokens: list[Token], start: int) -> int:
    """Returns the index after the group that begins at `start`, or `start` if none does."""
    i, end = start, start
    while i < len(tokens):
        tag = tokens[i].tag
        if tag is Tag.AUXILIARY:
            end = i + 1
        elif tag in VERBS:
            return i + 1
        elif tag is not Tag.ADVERB:
            break
        i += 1
    return end


def _group(tokens: list[Token], start: int, end: int, before: list[VerbGroup]) -> VerbGroup:
    last = tokens[end - 1]
    auxiliaries = [each.word for each in tokens[start:end] if each.tag is Tag.AUXILIARY]
    passive = False
    if last.tag is Tag.AUXILIARY:
        base = "have" if last.word in _HAVE else "do" if last.word in _DO else "be"
        finite = auxiliaries[0] not in ("being", "having", "be", "been")
    else:
        base = base_of(last)
        passive = last.tag is Tag.ED and any(word in _BE for word in auxiliaries)
        finite = auxiliaries[:1] not in ([], ["being"], ["having"])
        if not auxiliaries:
            finite = last.tag is Tag.PRESENT or (
                last.tag is Tag.ED and _is_past(tokens, end - 1, before)
            )
    says = Says.ACTION
    if base in ("be", "have") and "having" not in auxiliaries[1:]:
        says = Says(base)
    elif "being" not in auxiliaries and _says_state(tokens, end, base, finite and not passive):
        says = Says.STATE
    return VerbGroup(start, end, base, finite, passive, says)


def _forms(token: Token) -> set[Form]:
    return {each.form for each in readings(token.word) if each.part == "v" and each.form}


def _says_state(tokens: list[Token], end: int, base: str, is_done: bool) -> bool:
    """Returns whether a verb says how somebody is or looks, and not what somebody does.

    `is_done` says that the subject does it: who hides acts, and who is hidden does not.
    """
    after = tokens[end].word if end < len(tokens) else ""
    if base in words("verbs", "posture") and after in ("up", "down"):
        return False
    if any(base in words("verbs", kind) for kind in _LOOKS):
        return True
    return not is_done and tokens[end - 1].tag is Tag.ED and base in words("verbs", "state")


def _is_past(tokens: list[Token], i: int, before: list[VerbGroup]) -> bool:
    """Returns whether a form such as "dressed" is the past tense, and not a participle."""
    forms = _forms(tokens[i])
    if Form.PAST not in forms or Form.PAST_PARTICIPLE not in forms:
        return Form.PAST in forms
    last = previous(tokens, i)
    if last is None or last.tag in (Tag.SUBJECT_PRONOUN, Tag.RELATIVE):
        return last is not None
    if last.tag not in (Tag.NOUN, Tag.MARK, Tag.AND, Tag.QUOTE):
        return False
    first, end = _clause(tokens, i)
    done = [each for each in before if each.finite and each.start >= first]
    if tokens[first].tag is Tag.CONJUNCTION and not done:
        # "as fireworks burst"
        comma = next((j for j in range(i, end) if tokens[j].word == ","), end)
        return not any(_is_surely_finite(tokens, j) for j in range(i + 1, comma))
    if any(each.tag is Tag.PRESENT for each in tokens[first:end]):
        # A clause in the present tense has its past forms as participles.
        return False
    if done:
        if last.tag is Tag.NOUN:
            return False
        return _score(tokens, i) >= 0
    if _has_object(tokens, i) and _score(tokens, i) >= 0:
        # "The waitress balanced a tray": a participle has no object.
        return True
    later = [j for j in range(i + 1, end) if not _is_joined(tokens, j)]
    if any(_is_surely_finite(tokens, j) for j in later):
        return False
    rivals = [i, *(j for j in later if _is_open(tokens, j))]
    if _is_aside(tokens, first, i) and any(
        j > i and tokens[j].tag is Tag.MARK for j in range(i, rivals[-1])
    ):
        return False
    likely = [j for j in rivals if _score(tokens, j) >= 0] or rivals
    return likely[0] == i and _score(tokens, i) > -2


def _is_aside(tokens: list[Token], first: int, i: int) -> bool:
    """Returns whether a comma alone stands between the subject and the form at `i`.

    "The diver, dressed in yellow, ...": what so begins ends at the next comma.
    """
    before = [each.tag for each in tokens[first:i]]
    return before[-1:] == [Tag.MARK] and before.count(Tag.MARK) == 1


def _clause(tokens: list[Token], i: int) -> tuple[int, int]:
    """Returns the indices of the first word and of the end of the clause around the index `i`."""
    opens = [j for j, each in enumerate(tokens) if _opens_clause(each)]
    first = max((j for j in opens if j <= i), default=0)
    # What opens a sentence with a conjunction ends at its comma.
    if first == 0 and tokens[0].tag is Tag.CONJUNCTION:
        comma = next((j for j, each in enumerate(tokens) if each.word == ","), len(tokens))
        if i > comma:
            first = comma
    return first, min((j for j in opens if j > i), default=len(tokens))


def _opens_clause(token: Token) -> bool:
    return token.tag in _OPENS_CLAUSE or token.word == ";"


def _is_open(tokens: list[Token], j: int) -> bool:
    """Returns whether the word may be the past tense as well as a participle."""
    if tokens[j].tag is not Tag.ED or (j and tokens[j - 1].tag is Tag.AUXILIARY):
        return False
    last = previous(tokens, j)
    allowed = (Tag.NOUN, Tag.MARK, Tag.AND, Tag.QUOTE)
    return {Form.PAST, Form.PAST_PARTICIPLE} <= _forms(tokens[j]) and (
        last is None or last.tag in allowed
    )


def _has_object(tokens: list[Token], i: int) -> bool:
    after = tokens[i + 1].tag if i + 1 < len(tokens) else None
    return after in (Tag.DETERMINER, Tag.OBJECT_PRONOUN)


def _is_joined(tokens: list[Token], j: int) -> bool:
    """Returns whether "and" joins the verb to one before it."""
    last = previous(tokens, j)
    return last is not None and last.tag is Tag.AND


def _is_surely_finite(tokens: list[Token], j: int) -> bool:
    token = tokens[j]
    if token.tag is Tag.AUXILIARY:
        return token.word not in ("being", "having", "be", "been")
    if token.tag is not Tag.ED:
        return token.tag is Tag.PRESENT
    return Form.PAST in (forms := _forms(token)) and Form.PAST_PARTICIPLE not in forms


def _score(tokens: list[Token], j: int) -> int:
    """Returns how likely a form is the past tense, by its verb and what follows it."""
    after = tokens[j + 1] if j + 1 < len(tokens) else None
    base = base_of(tokens[j])
    lasts = base in words("verbs", "state") or base in words("verbs", "wear")
    score = -2 if lasts else 0
    if after is None:
        return score
    if after.word in ("by", "with"):
        return score - (3 if after.word == "by" else 1)
    if score < 0 and after.tag in (Tag.PREPOSITION, Tag.TO):
        return score - 1
    objects = (Tag.DETERMINER, Tag.OBJECT_PRONOUN, Tag.NOUN, Tag.ADVERB, Tag.QUOTE)
    has_object = after.tag in objects
    return score + has_object
