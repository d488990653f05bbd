"""The pages of the documentation, as the tests that hold them to the code read them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINK = re.compile(
    r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]*(?:\([^()]*\)[^()\s]*)*)(?:\s[^)]*)?\)"
)
_HEADING = re.compile(r"^(#{1,6}) (.+?) *$", re.MULTILINE)


def prose(page: Path) -> str:
    """A page without its blocks of code and its comments."""
    return _COMMENT.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))


def links(page: Path) -> list[tuple[str, str]]:
    """Text and target of each link and picture of a page."""
    # A code span holds no link; a link's text may be one.
    text = _CODE.sub(lambda span: "" if "](" in span[0] else span[0], prose(page))
    return [(match[1], match[2]) for match in _LINK.finditer(text)]


def headings(page: Path) -> list[str]:
    """A page's headings without their marks, in order."""
    return [match[2] for match in _HEADING.finditer(prose(page))]


def anchors(page: Path) -> set[str]:
    """What a link to a heading of `page` may end with, by GitHub's rule."""
    found: set[str] = set()
    for heading in headings(page):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = 1
        while (unique := slug if number == 1 else f"{slug}-{number - 1}") in found:
            number += 1
        found.add(unique)
    return found


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks, those that go on joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


@cache
def names_in(path: Path) -> frozenset[str]:
    """What a Python file defines: functions, classes and constants, and members as Class.name."""
    return frozenset(_names(ast.parse(path.read_text(encoding="utf-8")), ""))


def _names(scope: ast.AST, prefix: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(scope):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.ClassDef(name=name):
                yield prefix + name
                yield from _names(node, f"{prefix}{name}.")
            case ast.Assign(targets=targets):
                yield from (prefix + each.id for each in targets if isinstance(each, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name
