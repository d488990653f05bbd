"""The page of the method has what comments of the code point to, and its tables are the code's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.doc_pages import DOCS, PROJECT, headings

from stdrc_core.evaluate.metric_registry import COLUMNS
from stdrc_core.evaluate.paper import ABLATION, SYSTEMS
from stdrc_core.method.guidance_options import EXACT, OPTION_NAMES
from stdrc_core.method.layout import Placement

PAGE = (DOCS / "method.md").read_text(encoding="utf-8")
# "docs/method.md section 3", "docs/method.md sections 3, 9", or the page alone.
_POINTER = re.compile(r"\bdocs/([\w/-]+\.md)(?:\s+sections? (\d+(?:(?:, | and )\d+)*))?")


def pointers() -> Iterator[tuple[str, str, str]]:
    """Each comment's file, and the page and section that it points to; "" is the page alone."""
    files = [PROJECT / "install.py"]
    for room in ("stdrc_core", "nodes", "tests"):
        files += [*(PROJECT / room).rglob("*.py"), *(PROJECT / room).rglob("*.yaml")]
    for file in files:
        if file.parent == Path(__file__).parent:
            continue
        # A comment may break between the page and its section.
        text = re.sub(r"\n *#? *", " ", file.read_text(encoding="utf-8"))
        for match in _POINTER.finditer(text):
            for section in re.findall(r"\d+", match[2] or "") or [""]:
                yield str(file.relative_to(PROJECT)), match[1], section


def test_every_pointer_of_the_code_leads_to_a_section():
    found = list(pointers())
    assert len(found) > 20
    lost = [
        (file, page, section)
        for file, page, section in found
        if not (DOCS / page).is_file()
        or (section and not any(h.startswith(f"{section}. ") for h in headings(DOCS / page)))
    ]
    assert lost == []


def test_the_sections_are_counted_and_listed():
    titles = [each for each in headings(DOCS / "method.md") if each[0].isdigit()]
    assert [int(each.split(".")[0]) for each in titles] == list(range(1, len(titles) + 1))
    listed = re.findall(r"^\d+\. \[(.+)\]\(#", PAGE, re.MULTILINE)
    assert listed == [each.split(". ", 1)[1] for each in titles]


def test_the_papers_tables_are_those_of_evaluate():
    rows = re.findall(r"^\| ([^|`]+) \|((?: [\d.]+ \|){7})$", PAGE, re.MULTILINE)
    shown = [(name, *map(float, re.findall(r"[\d.]+", numbers))) for name, numbers in rows]
    assert shown == [tuple(row) for row in (*SYSTEMS, *ABLATION)]


def test_every_placement_has_its_row():
    rows = re.findall(r"^\| `(\w+)` \|(?:[^|]*\|){2} (yes|no) \|", PAGE, re.MULTILINE)
    assert dict(rows) == {each.value: "yes" if each.turns_angles else "no" for each in Placement}


def test_every_metric_is_named():
    rows = set(re.findall(r"^\| ([\w-]+) \|", PAGE, re.MULTILINE))
    assert {column.title for column in COLUMNS.values()} <= rows


def test_every_guidance_option_is_named_with_its_default():
    section = PAGE.split("## 12. ")[1].split("\n## ")[0]
    shown = {}
    for names, defaults in re.findall(r"^\| (`.+?`) \| ([\d., ]+) \|", section, re.MULTILINE):
        values = map(float, re.findall(r"[\d.]+", defaults))
        shown |= dict(zip(re.findall(r"`(\w+)`", names), values, strict=True))
    assert shown == {name: getattr(EXACT, name) for name in OPTION_NAMES}


@pytest.mark.parametrize("number", range(1, 14))
def test_every_equation_stands_there(number: int):
    assert f"(Eq. {number})" in PAGE
