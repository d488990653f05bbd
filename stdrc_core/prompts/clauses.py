"""The groups of verbs in a sentence: which are finite, what each says, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .grammar import Token
from .tags import VERBS, Tag
from .tense import base_of, is_past
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
                last.tag is Tag.ED
                and is_past(tokens, end - 1, [each.start for each in before if each.finite])
            )
    says = Says.ACTION
    if base in ("be", "have") and "having" not in auxiliaries[1:]:
        says = Says(base)
    elif "being" not in auxiliaries and _says_state(tokens, end, base, finite and not passive):
        says = Says.STATE
    return VerbGroup(start, end, base, finite, passive, says)


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
