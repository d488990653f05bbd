"""Plain text of prompts: its length, its sentences, whether it is English."""

from __future__ import annotations

import re

from .words import words

# Chinese, Japanese and Korean have no spaces between words: a character counts as a word.
_IDEOGRAPH = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"
_WORD = re.compile(rf"{_IDEOGRAPH}|(?:(?!{_IDEOGRAPH})\S)+")
_MIN_LATIN_SHARE = 0.95

# "The video shows", "A close-up shot of": how a prompt begins that is about its picture.
_FRAMING = re.compile(
    r"(?:(?:the|this|a|an|in this|in the)\s+)?(?:[\w-]+\s+){0,3}?"
    r"(?:video|clip|scene|footage|shot|image|picture|photo|photograph|portrait|view)\s+"
    r"(?:of|shows|showing|depicts|depicting|features|featuring|captures|capturing|opens with|"
    r"begins with|starts with)\s+",
    re.IGNORECASE,
)


def count_words(text: str) -> int:
    """Words between spaces; each character of Chinese, Japanese and Korean."""
    return len(_WORD.findall(text))


def cut_words(text: str, most: int) -> str:
    """The first `most` words at most, without what hangs at a cut; a shorter text as it is."""
    ends = [match.end() for match in _WORD.finditer(text)]
    if len(ends) <= most:
        return text
    return text[: ends[most - 1]].rstrip(" ,;:-") if most > 0 else ""


def one_line(text: str) -> str:
    """The text with single spaces, none at its ends."""
    return " ".join(text.split())


def split_sentences(text: str) -> list[str]:
    """Sentences with their full stops."""
    return [each for each in re.split(r"(?<=[.!?])\s+", text.strip()) if each]


def without_framing(sentence: str) -> str:
    """Without "The video shows" and the like in front; the sentence then begins with what is
    shown."""
    framing = _FRAMING.match(sentence)
    return capitalized(sentence[framing.end() :]) if framing else sentence


def capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def uncapitalized(text: str) -> str:
    """A sentence's beginning inside another one: only an article or the like becomes small."""
    first = text.split(" ", 1)[0]
    return text if first[1:].lower() != first[1:] or first == "I" else text[:1].lower() + text[1:]


def is_english(text: str) -> bool:
    """Whether our rules, which are lists of English words, can be asked about `text`.

    Told by its letters and by small words of some ten languages; without any of them, Latin letters
    count as English.
    """
    letters = [letter for letter in text if letter.isalpha()]
    num_latin = sum(letter.isascii() for letter in letters)
    if not letters or num_latin < _MIN_LATIN_SHARE * len(letters):
        return False
    found = re.findall(r"[a-z]+", text.lower())
    num_english, num_other = (
        sum(word in words("small", kind) for word in found) for kind in ("english", "other")
    )
    return num_other <= num_english
