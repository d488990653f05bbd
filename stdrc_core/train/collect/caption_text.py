"""What a captioner is asked for, and whether its answer is a caption."""

from __future__ import annotations

import re
from collections import Counter

INSTRUCTION = (
    "These pictures are frames of one short video, in order. Describe the video in one to three "
    "plain sentences in English: what the person does, the scene around, how the camera sees it, "
    "and the clothes. Call whoever is seen a person, a man or a woman. Never describe the looks of "
    "the face or head: no eyes, nose, mouth, skin, hair, beard, make-up, age, origin or beauty. "
    "Give the description alone, without a heading, list or remark."
)
AGAIN = " Your last answer could not be used: {problem}. Answer again with the description alone."

LEAST_WORDS, MOST_WORDS = 4, 150
# Words of the looks of a face, which have to come from the reference alone.
_LOOKS = re.compile(
    r"\b(eye(d|s|brows?|lashes)?|nose|nostrils?|lips|cheek(s|bones?)?|jaw(line)?|chin|forehead"
    r"|skin(ned)?|complexion|freckle[sd]?|wrinkle[sd]?|dimples?|scars?|moles?"
    r"|\w*hair(ed|style)?|blonde?|brunette|redhead|ginger|bald(ing)?|ponytail|braids?|curls"
    r"|beard(ed)?|moustached?|mustached?|goatee|stubble|clean-shaven|make-?up|lipstick"
    r"|handsome|beautiful|pretty|attractive|youthful|elderly|middle-aged|facial features?"
    r"|caucasian|asian|african|hispanic|latino|latina|arab|indian)\b",
    re.IGNORECASE,
)
_REFUSALS = re.compile(
    r"\b(i'?m sorry|i am sorry|i can(no|')t|as an ai|i am unable|i'm unable|cannot assist)\b",
    re.IGNORECASE,
)
_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL | re.IGNORECASE)


class CaptionError(ValueError):
    """A captioner gave no caption; the message says what it did instead."""


def cleaned(answer: str) -> str:
    """The answer in one line, without a model's thoughts, quotes and headings."""
    text = " ".join(_THOUGHTS.sub(" ", answer).split())
    text = re.sub(r"^(caption|description|answer)\s*:\s*", "", text, flags=re.IGNORECASE)
    return text.strip(" \"'`*")


def problem_of(text: str) -> str | None:
    """Why a cleaned answer is no caption, in words; None for a caption."""
    words = re.findall(r"[^\W\d_]+", text)
    if not words:
        return "it was empty"
    if not LEAST_WORDS <= len(words) <= MOST_WORDS:
        return f"it had {len(words)} words and needs {LEAST_WORDS} to {MOST_WORDS}"
    if _REFUSALS.search(text):
        return f"it refused ({text[:60]!r})"
    letters = sum(len(word) for word in words)
    if letters < 0.6 * len(text.replace(" ", "")):
        return f"it was no prose ({text[:60]!r})"
    word, count = Counter(word.lower() for word in words).most_common(1)[0]
    if len(words) > 12 and count > len(words) / 3:
        return f"it repeated {word!r}"
    return None


def looks_in(text: str) -> str | None:
    """A word of the text that tells the looks of a face; None where there is none."""
    found = _LOOKS.search(text)
    return found[0] if found else None


def without_looks(text: str) -> str:
    """The text without the parts, between commas and stops, that tell the looks of a face."""
    kept = []
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        parts = [part for part in re.split(r",\s*", sentence) if not looks_in(part)]
        if parts:
            kept.append(", ".join(parts).rstrip(".!?,") + ".")
    return " ".join(kept)
