"""Helpers for the text of prompts: its length, its sentences, and whether it is English."""

from __future__ import annotations

import re

from .words import words

# Chinese, Japanese and Korean have no spaces between words: a character counts as a word.
_IDEOGRAPH = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"
_WORD = re.compile(rf"{_IDEOGRAPH}|(?:(?!{_IDEOGRAPH})\S)+")
_MIN_LATIN_SHARE = 0.95

# Words about the picture itself at the beginning of a prompt: "The video shows", "A close-up shot
# of", "Medium shot:", "There is".
_FRAMING = re.compile(
    r"there (?:is|are|was|were)\s+|in (?:this|the) (?:video|clip|scene|shot|footage),\s+|"
    r"(?:(?:the|this|a|an|in this|in the|in)\s+)?(?P<before>(?:[\w-]+\s+){0,3}?)"
    r"(?:video|clip|scene|footage|film|shot|image|picture|photo|photograph|portrait|view|close-?up|"
    r"headshot|selfie|frame|angle|painting|illustration|drawing|render(?:ing)?)(?:\s+shot)?"
    r"(?:\s*:\s+|,?\s+"
    r"(?:of|shows|showing|depicts|depicting|features|featuring|captures|capturing|presents|"
    r"portrays|portraying|reveals|revealing|follows|following|opens (?:with|on)|"
    r"begins with|starts with|focuses on|focused on|centers on)\s+)",
    re.IGNORECASE,
)
# What somebody says, in quotes.
QUOTE = r"\"[^\"]*\"|\u201c[^\u201d]*\u201d|(?<!\w)'[^']*'(?!\w)|\u2018[^\u2019]*\u2019(?!\w)"
# What ends in a dot and ends no sentence.
TITLE = r"(?<!\w)(?i:mrs?|ms|dr|prof|st|sgt|lt|capt)\.(?=\s+[A-Z])"
_SENTENCE = re.compile(rf"(?:{QUOTE}|{TITLE}|[^.!?]|[.!?]+(?!\s|$))*(?:[.!?]+|$)")


def count_words(text: str) -> int:
    """Returns the number of words; each character of Chinese, Japanese and Korean counts as one."""
    return len(_WORD.findall(text))


def cut_words(text: str, most: int) -> str:
    """Returns the first `most` words, without a comma or dash at the cut.

    A text that is no longer than that is returned as it is.
    """
    ends = [match.end() for match in _WORD.finditer(text)]
    if len(ends) <= most:
        return text
    return text[: ends[most - 1]].rstrip(" ,;:-") if most > 0 else ""


def one_line(text: str) -> str:
    """Returns the text on one line, with single spaces and none at its ends."""
    return " ".join(text.split())


def split_sentences(text: str) -> list[str]:
    """Returns the sentences of a text, with the marks that end them.

    A mark inside quotes ends none.
    """
    return [each.strip() for each in _SENTENCE.findall(text) if each.strip()]


def without_framing(sentence: str) -> str:
    """Returns the sentence without "The video shows" and the like at its beginning."""
    framing = _FRAMING.match(sentence)
    if framing is None or re.search(r"\w+[^su\W]s\b", framing["before"] or ""):
        # "An artist paints a portrait of": the words before have a verb.
        return sentence
    return capitalized(sentence[framing.end() :])


def capitalized(text: str) -> str:
    """Returns the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def uncapitalized(text: str) -> str:
    """Returns the text with its first letter in lower case, to stand inside a sentence.

    The word "I" and words with further capitals are left as they are.
    """
    first = text.split(" ", 1)[0]
    return text if first[1:].lower() != first[1:] or first == "I" else text[:1].lower() + text[1:]


def is_english(text: str) -> bool:
    """Returns whether a text is English, the language of our lists of words.

    Nearly all of its letters have to be Latin ones without accents, and it has to have at least as
    many small English words as small words of other languages. A text without any small words
    counts as English.
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
