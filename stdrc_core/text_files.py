"""Reads the text that people write: captions, JSON lines, JSON and YAML.

Text is UTF-8, whatever the machine's locale is. A byte order mark is dropped, and by its mark text
in UTF-16 or UTF-32 is read too. A line ends at a line feed, with or without a carriage return
before it, and at nothing else: a prompt may hold U+2028 or a form feed.
"""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

# A mark of UTF-32 begins with the mark of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_BOM = "\ufeff"
# YAML 1.1 ends lines at some of these and refuses the others. It is given noncharacters instead.
_NO_LINE_ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_STAND_INS = "".join(chr(0xFDD0 + place) for place in range(len(_NO_LINE_ENDS)))
_HIDE, _SHOW = str.maketrans(_NO_LINE_ENDS, _STAND_INS), str.maketrans(_STAND_INS, _NO_LINE_ENDS)
# What has no width, and the end of a file of DOS.
_UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\x1a"
_OTHER_FORMS = {
    re.compile(r"\s*\{\\rtf"): "rich text (RTF)",
    re.compile(r"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE): "a web page (HTML)",
}
# JIS and its likes write other alphabets in seven bits, between such marks.
_SEVEN_BITS = re.compile("\x1b(?:\\(|\\$[()]?)[@-Z]")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


class NotTextError(ValueError):
    """The error for bytes that are no text of a known encoding."""


def read_text(path: str | Path, what: str = "file") -> str:
    """Reads a text file.

    Raises OSError as reading does, and NotTextError, a sentence that names `what` and `path`, for
    bytes that are no text.
    """
    try:
        return decode(Path(path).read_bytes())
    except NotTextError as error:
        raise NotTextError(f"{what} {path} {error}: save it as UTF-8.") from error


def read_lines(path: str | Path, what: str = "file") -> list[str]:
    """Reads the lines of a text file without their ends; raises as `read_text` does."""
    lines = read_text(path, what).split("\n")
    return [_bare(line) for line in lines]


def read_raw_lines(path: str | Path) -> list[bytes]:
    """Reads the lines of a text file, each for `decode_line`, so that one may be no text.

    Raises OSError as reading does.
    """
    content = Path(path).read_bytes()
    if _encoding(content) is not None:
        try:
            content = decode(content).encode()
        except NotTextError:
            return [content]
    return content.split(b"\n")


def decode_line(line: bytes) -> str:
    """Returns a line without its end; raises NotTextError for bytes that are no text."""
    return _bare(decode(line))


def decode(content: bytes) -> str:
    """Returns the text that bytes are, without its mark.

    Raises NotTextError for bytes that are no text; the message says why, for a sentence that begins
    with the file.
    """
    encoding = _encoding(content)
    try:
        text = content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise NotTextError(
                f"begins with the mark of {encoding}, but is not {encoding}"
            ) from error
        raise NotTextError(
            f"is not UTF-8 (byte 0x{content[error.start]:02x} at position {error.start}; perhaps "
            "Windows-1252 or GBK)"
        ) from error
    if "\0" in text:
        raise NotTextError("is not UTF-8 (it holds NUL bytes; perhaps UTF-16 without its mark)")
    text = text.lstrip(_BOM)
    if _SEVEN_BITS.search(text):
        raise NotTextError("is not UTF-8 (it has the marks of ISO-2022-JP or one of its likes)")
    for start, form in _OTHER_FORMS.items():
        if start.match(text):
            raise NotTextError(f"is {form}, no plain text")
    return text


def trimmed(text: str) -> str:
    """Returns a caption without the white space, and what has no width, at its ends."""
    before = None
    while text != before:
        before, text = text, text.strip().strip(_UNSEEN)
    return text


def check_whole(text: str, what: str) -> str:
    """Returns `text`; raises ValueError, which names `what`, where it holds half a character.

    Such a text is in no encoding: JSON may write it, and so may a shell of another encoding.
    """
    half = _HALF_CHARACTER.search(text)
    if half is not None:
        raise ValueError(
            f"{what} holds half a character ({half[0]!r}); needs whole ones: write it as UTF-8."
        )
    return text


def read_json(path: str | Path, what: str = "file") -> Any:
    """Reads a JSON file; raises as `read_text` does, and json.JSONDecodeError."""
    return json.loads(read_text(path, what))


def read_yaml(path: str | Path, what: str = "file") -> Any:
    """Reads a YAML file by `parse_yaml`; raises as `read_text` does, and yaml.YAMLError."""
    return parse_yaml(read_text(path, what))


def parse_yaml(text: str) -> Any:
    """Returns what YAML says, with lines that end at a line feed alone; raises yaml.YAMLError."""
    import yaml

    return _shown(yaml.safe_load(text.translate(_HIDE)))


def _encoding(content: bytes) -> str | None:
    """The encoding that the content's mark says; None without a mark, or with that of UTF-8."""
    return next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)


def _bare(line: str) -> str:
    # Files that were put together may have the mark of the second in the middle.
    return line.removesuffix("\r").removeprefix(_BOM)


def _shown(value: Any) -> Any:
    """What YAML said, with the characters that were hidden from it."""
    if isinstance(value, str):
        return value.translate(_SHOW)
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if isinstance(value, dict):
        return {_shown(key): _shown(each) for key, each in value.items()}
    return value
