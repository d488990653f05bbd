"""The page of troubleshooting is headed by sentences that the files named with them really say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from helpers.doc_pages import DOCS, PROJECT

PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
# A heading in code, and below it the file that says it.
ENTRIES = re.findall(r"^### `([^`\n]+)`\n<!-- (\S+) -->\n\n\S", PAGE, re.MULTILINE)
# Stands for what is different each time.
_HOLE = "\0"
_LOG_FIELD = re.compile(r"%(?:\.\d+)?[sdf]")


@cache
def sentences(path: Path) -> tuple[str, ...]:
    """The strings of a Python file but for docstrings, a hole for each value put into them."""
    return tuple(_strings(ast.parse(path.read_text(encoding="utf-8"))))


def _strings(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
        text = _text(node)
        if text.strip(_HOLE):
            yield _joined(text)
    for child in ast.iter_child_nodes(node):
        yield from _strings(child)


def _text(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return _LOG_FIELD.sub(_HOLE, text)
        case ast.JoinedStr(values=parts):
            return "".join(map(_text, parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
    return _HOLE


def _joined(text: str) -> str:
    """Holes side by side are one; white space counts once."""
    return re.sub(f"{_HOLE}+", _HOLE, " ".join(text.split()))


def is_said(heading: str, said: tuple[str, ...]) -> bool:
    """Whether one of the sentences has the heading's words, with values where it has <...>."""
    wanted = _joined(re.sub(r"<[^<>]+>", _HOLE, heading))
    return any(wanted in each for each in said)


@pytest.mark.parametrize(("heading", "file"), ENTRIES)
def test_the_heading_is_what_the_file_says(heading: str, file: str):
    words = re.sub(r"<[^<>]+>", " ", heading).split()
    assert len(words) >= 4, "too few words to be found by"
    assert is_said(heading, sentences(PROJECT / file))


def test_every_heading_is_an_entry_and_stands_once():
    headings = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
    assert [f"`{heading}`" for heading, _ in ENTRIES] == headings
    assert len(set(headings)) == len(headings) > 30


SOURCE = '''
"""A model is lost in a docstring."""
def check(model, size, log):
    """Another model is lost in a docstring."""
    told = f"model is {model!r}, of {size}{size}" f" pixels; " + "needs " + f"{size} more"
    log.warning("%s is lost in step %d: %.3f left", model, 3, 0.5)
    raise ValueError(
        f"size was {size:.3f}; needs a {size} "
        "number, for example 3."
    )
'''


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("model is <name>, of <size> pixels; needs <n> more", True),
        ("<model> is lost in step <n>", True),
        ("size was <n>; needs a <kind> number", True),
        ("size was <n>; needs a round number", False),
        ("size is <n>", False),
        ("model is lost in a docstring", False),
    ],
)
def test_the_check_tells_what_is_said(tmp_path: Path, heading: str, expected: bool):
    (tmp_path / "source.py").write_text(SOURCE)
    assert is_said(heading, sentences(tmp_path / "source.py")) is expected
