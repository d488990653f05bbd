"""Splits an English prompt into its two decoupled prompts by rules, without a language model.

The prompt is cut into segments at punctuation, before small words (in, with, and) and before verbs
of action. The first frame's prompt keeps the segments about the subject, its clothes, the place and
the face. The motion's prompt is the whole prompt with the action in front.
"""

from __future__ import annotations

import re
from functools import cache

from .gender import Gender
from .spatial import repaired_spatial
from .temporal import repaired_temporal
from .text import split_sentences, without_framing
from .verbs import action_pattern, base_of_form, participle
from .words import CONNECTORS, LONE_CONNECTOR, Noun, names, whole, words

# A preposition of motion -> the one in its place in a still picture: "through a park" becomes "in a
# park".
_STILL_PREPOSITIONS = {
    "through": "in",
    "across": "in",
    "into": "in",
    "around": "in",
    "along": "on",
    "down": "on",
    "up": "on",
    "onto": "on",
    "past": "near",
    "toward": "near",
    "towards": "near",
}
# Verbs that say how somebody is, not what somebody does -> the words for it in a phrase.
_STATES = (
    (r"(?:(?:is|are)\s+)?(?:wears|wearing|wore)", "wearing"),
    (r"(?:(?:is|are)\s+dressed)", "dressed"),
    (r"(?:has|have|had)", "with"),
)
_CLAUSE_END = re.compile(r"[,.!?;:]+(?=\s|$)|\n")
# What is left before a verb that was split off, such as "and then she is slowly" before "walking".
_BEFORE_VERB = re.compile(
    r"(?:(?:and|then|while|as)\b\s*)*(?:(?:he|she|they)\b\s*)?(?:(?:is|are)\b\s*)?(?:\w+ly\s*)*",
    re.IGNORECASE,
)
_OPEN_END = re.compile(r"(?:(?:^|\s+)(?:who|that|which|then|also))+$", re.IGNORECASE)
# A first frame does not show where the camera goes.
_CAMERA = re.compile(
    r"^(?:the\s+)?camera\s+(?:\w+\s+){0,4}?(?:on|at|to|toward|towards|around|follows|tracks)\s+",
    re.IGNORECASE,
)
_AND = re.compile(r"(?:and|or|but)\s+", re.IGNORECASE)


def split_prompt(prompt: str, gender: Gender | None) -> tuple[str, str]:
    """Returns the spatial and the temporal prompt of an English prompt; both keep their rules.

    `gender` is the subject's; None says that the prompt is about a man and a woman.
    """
    subject = (gender or Gender.PERSON).noun_phrase
    still = repaired_spatial(", ".join(_what_stands_still(prompt, subject)), gender)
    if not names(still, Noun.SUBJECT):
        # The rules removed the subject, or the prompt calls it by a word that is on no list.
        still = repaired_spatial(f"{subject}, {still}.", gender)
    return still, repaired_temporal(prompt, gender)


def _what_stands_still(prompt: str, subject: str) -> list[str]:
    told = " ".join(_CAMERA.sub("", without_framing(each)) for each in split_sentences(prompt))
    text = re.sub(r"^\s*(?:he|she|they)\b", subject, told, flags=re.IGNORECASE)
    for verb, word in _STATES:
        text = whole(verb).sub(word, text)
    return [phrase for clause in _CLAUSE_END.split(text) for phrase in _still_phrases(clause)]


def _still_phrases(clause: str) -> list[str]:
    phrases: list[str] = []
    goes_on, is_acting = False, False
    for segment in _boundary().split(clause.strip()):
        segment = _OPEN_END.sub("", segment)
        if LONE_CONNECTOR.fullmatch(segment) or _BEFORE_VERB.fullmatch(segment):
            continue
        verb = _leading_verb().match(segment)
        if verb is not None:
            base = base_of_form().get(verb["form"].lower(), verb["form"].lower())
            is_still = base in words("verbs", "posture")
            is_acting = not is_still
            still = f"{participle(base)}{segment[verb.end() :]}"
            still = still if is_still or names(still, Noun.FACE) else ""
            goes_on = goes_on and is_still
        else:
            still = _kept_of_action(segment) if is_acting else segment
        if still and goes_on:
            phrases[-1] = f"{phrases[-1]} {still}"
        elif still:
            phrases.append(_AND.sub("", still, count=1) if _AND.match(still) else still)
        goes_on = bool(still)
    return phrases


def _kept_of_action(segment: str) -> str:
    """Returns what a first frame keeps of a segment that follows an action.

    That is a segment about the face, the clothes or the place; others give "".
    """
    if names(segment, Noun.FACE) or names(segment, Noun.CLOTHES):
        return segment
    if not names(segment, Noun.PLACE):
        return ""
    first, _, rest = segment.partition(" ")
    return f"{_STILL_PREPOSITIONS.get(first.lower(), first)} {rest}"


@cache
def _boundary() -> re.Pattern[str]:
    before_verb = rf"(?:(?:is|are)\s+)?(?:\w+ly\s+)*{action_pattern()}"
    return re.compile(rf"\s+(?={CONNECTORS}\b|{before_verb})", re.IGNORECASE)


@cache
def _leading_verb() -> re.Pattern[str]:
    lead = r"(?:(?:and|while|as)\s+)?"
    return re.compile(rf"{lead}(?P<form>{action_pattern()})", re.IGNORECASE)
