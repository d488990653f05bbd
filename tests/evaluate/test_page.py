"""The report in a real browser: it sorts, fetches nothing and is made for light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.chromium import open_chromium

from stdrc_core.pages.page_parts import Curve, plot

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_chromium() as browser:
        yield browser


def values(table: Any, column: int) -> list[str]:
    script = "(rows, column) => rows.map((row) => row.cells[column].dataset.value)"
    return table.locator("tbody tr").evaluate_all(script, column)


def test_columns_sort_both_ways(evaluated: Path, browser: Any):
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(f"file://{evaluated / 'report.html'}")
    table = page.locator("table.sortable").last
    assert len(values(table, 1)) == 12
    scores = table.get_by_role("button", name="FaceSim-Arc", exact=True)
    scores.click()
    descending = [float(value) for value in values(table, 1)]
    assert descending == sorted(descending, reverse=True)
    assert table.locator("th[aria-sort=descending]").count() == 1
    scores.press("Enter")
    assert [float(value) for value in values(table, 1)] == descending[::-1]
    table.get_by_role("button", name="clip").click()
    assert values(table, 0) == sorted(values(table, 0))
    # The paper's table too, whose empty cells stay at the end.
    paper = page.locator("table.sortable").first
    paper.get_by_role("button", name="TIC").click()
    assert values(paper, 8)[0] != ""
    assert set(values(paper, 8)[1:]) == {""}
    assert all(url.startswith(("file:", "data:")) for url in said), said
    page.close()


def test_light_and_dark(evaluated: Path, browser: Any):
    shades = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(f"file://{evaluated / 'report.html'}")
        style = "getComputedStyle(document.body)"
        colors = page.evaluate(f"[{style}.backgroundColor, {style}.color]")
        shades[scheme] = [sum(map(int, each[4:-1].split(","))) for each in colors]
        # Nothing hangs over the page.
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.close()
    assert shades["light"][0] > 600 > 300 > shades["light"][1]
    assert shades["dark"][0] < 300 < 600 < shades["dark"][1]


def test_a_frame_without_a_face_breaks_the_line(browser: Any):
    curve = Curve("x", (0, 1, 2, 3, 4), (0.5, 0.6, None, 0.7, 0.8))
    page = browser.new_page()
    page.set_content(plot([curve], 5, (200, 50)))
    assert page.locator("polyline").count() == 2
    assert page.locator("line.gap").count() == 1
    page.close()
