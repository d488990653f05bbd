"""Every link of the documentation leads somewhere, and what a link calls code is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.doc_pages import DOCS, PROJECT, anchors, links, names_in

HELP = PROJECT / "web" / "docs"
PAGES = sorted([PROJECT / "README.md", *DOCS.rglob("*.md"), *HELP.rglob("*.md")])
# [`module.name`](path/module.py), and the same of a member: [`module.Class.name`].
_NAME = re.compile(r"^`([a-z_]\w*)\.([A-Za-z_][\w.]*)`$")
_FILE = re.compile(r"^`([\w./-]+\.(?:py|md|toml|yaml|json))`$")


def _shown(page: Path) -> str:
    return str(page.relative_to(PROJECT))


def folder_of(page: Path) -> Path:
    """Where a page's links begin; ComfyUI shows a translated help page as if it stood in HELP."""
    return HELP if page.is_relative_to(HELP) else page.parent


def broken_links(page: Path, project: Path = PROJECT) -> list[str]:
    broken = []
    for _, target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        to = (folder_of(page) / path).resolve() if path else page
        is_outside = not to.is_relative_to(project.resolve())
        if is_outside or not to.exists() or (anchor and anchor not in anchors(to)):
            broken.append(target)
    return broken


def misnamed_code(page: Path) -> list[str]:
    """Links whose text names a file or a piece of code that their target is not, or has not."""
    wrong = []
    for text, target in links(page):
        to = (page.parent / target.partition("#")[0]).resolve()
        if name := _FILE.match(text):
            if not f"/{to.as_posix()}".endswith(f"/{name[1]}"):
                wrong.append(f"{text} -> {target}")
        elif target.endswith(".py") and (name := _NAME.match(text)):
            is_there = to.is_file() and to.stem == name[1] and name[2] in names_in(to)
            if not is_there:
                wrong.append(f"{text} -> {target}")
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=_shown)
def test_every_relative_link_resolves(page: Path):
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=_shown)
def test_files_and_code_are_what_their_links_call_them(page: Path):
    assert misnamed_code(page) == []


def test_the_checks_find_what_is_broken(tmp_path: Path):
    (tmp_path / "code.py").write_text("class Guide:\n    scale: float\n    def run(self): ...\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading, and `code`\n## A heading, and `code`\n"
        "[good](code.py) [good](#a-heading-and-code-1) [good](https://example.org/x)\n"
        "[`code.Guide`](code.py) [`code.Guide.run`](code.py) [`code.py`](code.py)\n"
        "`[not a link](none.md)`\n\n```text\n[nor this](none.md)\n```\n"
        "[bad](none.md) [bad](#no-heading) [bad](../outside.md) ![bad](none.jpg)\n"
        "[`code.Guide.stop`](code.py) [`other.Guide`](code.py) [`other.py`](code.py)\n"
    )
    assert broken_links(page, tmp_path) == ["none.md", "#no-heading", "../outside.md", "none.jpg"]
    assert misnamed_code(page) == [
        "`code.Guide.stop` -> code.py",
        "`other.Guide` -> code.py",
        "`other.py` -> code.py",
    ]
