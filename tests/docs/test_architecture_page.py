"""The page of the architecture tells of every room, that of contributing of the test command."""

from __future__ import annotations

import re
from pathlib import Path

from helpers.doc_pages import DOCS, PROJECT, commands

PAGE = (DOCS / "architecture.md").read_text(encoding="utf-8")
# A row of the floors: path, floor.
FLOORS = dict(re.findall(r"^\| `([\w./]+)` \| (\d?) ?\|", PAGE, re.MULTILINE))


def rooms() -> set[str]:
    """The folders and files that stand on a floor of their own."""
    core = PROJECT / "stdrc_core"
    found = {path for path in core.iterdir() if path.suffix == ".py" or _is_room(path)}
    found |= {path for path in (PROJECT / "nodes").rglob("*") if _is_room(path)}
    found |= {PROJECT / "nodes"}
    names = {path.relative_to(PROJECT).as_posix() + "/" * path.is_dir() for path in found}
    return names - {"stdrc_core/__init__.py"}


def _is_room(path: Path) -> bool:
    return path.is_dir() and (path / "__init__.py").is_file()


def test_every_room_has_its_row_and_no_other_has():
    assert set(FLOORS) == rooms()


def test_the_picture_has_the_tables_floors():
    picture = PAGE.split("```text\n")[1].split("```")[0]
    for name, floor in FLOORS.items():
        if floor:
            short = re.escape(name.removeprefix("stdrc_core/").rstrip("/"))
            lines = re.findall(rf"^.*\b{short}(?![\w/]).*$", picture, re.MULTILINE)
            assert [line.split()[-1] for line in lines] == [floor], name


def test_three_questions_are_answered_by_files_that_are_there():
    rows = PAGE.split("## Where is")[1].split("## ")[0]
    assert rows.count("?") >= 3
    for question in ("Eq. 13", "photo become tokens", "add a metric"):
        assert question in rows


def test_contributing_has_the_command_that_the_readme_has():
    line = next(
        line
        for line in (PROJECT / "README.md").read_text().splitlines()
        if line.startswith("pip install -r requirements-dev.txt")
    )
    assert line in commands(DOCS / "contributing.md")
