"""Splits an English prompt into its two decoupled prompts by rules, without a language model.

The first frame's prompt keeps what stands still: the subject, its clothes, what it holds, things,
the place and the face (still.py). The motion's prompt is the whole prompt with the subject and its
action in front (temporal.py).
"""

from __future__ import annotations

from .gender import Gender
from .grammar import read_sentence
from .noun_phrases import is_person
from .spatial import repaired_spatial, without_forbidden
from .still import still_phrases
from .tags import Tag
from .temporal import repaired_temporal
from .text import split_sentences, without_framing
from .words import Noun, names


def split_prompt(prompt: str, gender: Gender | None) -> tuple[str, str]:
    """Returns the spatial and the temporal prompt of an English prompt; both keep their rules.

    `gender` is the subject's; None says that the prompt is about a man and a woman.
    """
    subject = (gender or Gender.PERSON).noun_phrase
    phrases = _what_stands_still(prompt, subject)
    still = repaired_spatial(", ".join(phrases), gender)
    first = next((each for each in phrases if _has_person(each)), "")
    is_lost = first != "" and not _has_person(without_forbidden(first))
    if is_lost or (not names(still, Noun.SUBJECT) and not _has_person(still)):
        # The rules removed the subject, or the prompt calls it by a name.
        still = repaired_spatial(f"{subject}, {still}.", gender)
    return still, repaired_temporal(prompt, gender)


def _what_stands_still(prompt: str, subject: str) -> list[str]:
    phrases: list[str] = []
    seen: set[str] = set()
    for sentence in split_sentences(prompt):
        phrases += still_phrases(without_framing(sentence).rstrip(".!?"), subject, seen)
    return phrases


def _has_person(text: str) -> bool:
    return any(each.tag is Tag.NOUN and is_person(each) for each in read_sentence(text))
