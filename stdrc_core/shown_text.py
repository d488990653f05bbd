"""Names and prompts of users as they can be drawn, or written in a line."""

from __future__ import annotations

import unicodedata

# Control characters, halves of characters, and Unicode's ends of lines and paragraphs.
_NOT_DRAWN = {"Cc", "Cs", "Zl", "Zp"}


def one_line(text: str, length: int | None = None) -> str:
    """Returns `text` in one line, cut to at most `length` characters.

    Ends of lines and control characters become spaces, and halves of characters, which no font and
    no encoding has, the replacement character. Where it is cut it ends in an ellipsis.
    """
    shown = "".join(_drawn(each) for each in text)
    if length is not None and len(shown) > length:
        return shown[: length - 1] + "…"
    return shown


def whole(text: str) -> str:
    """Returns `text` with escapes such as \\udce9 for halves of characters.

    Python has a file's name that is no text with such halves, and no file of text can hold them.
    """
    return text.encode(errors="backslashreplace").decode()


def _drawn(character: str) -> str:
    kind = unicodedata.category(character)
    if kind not in _NOT_DRAWN:
        return character
    return "\ufffd" if kind == "Cs" else " "
