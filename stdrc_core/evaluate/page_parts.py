"""The parts of the HTML reports. A page is one file, fetches nothing, and is light or dark as the
reader has it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from ..text_files import read_text

_ASSETS = Path(__file__).parent / "assets"
# The classes of the curves' colours, in order.
SHADES = ("first", "second", "third")


class Cell(NamedTuple):
    """A cell of a table: what it shows, in HTML, what it is sorted by, and its class."""

    html: str
    value: str = ""
    kind: str = ""


class Curve(NamedTuple):
    """Values over a clip's frames; None for a frame that has none."""

    title: str
    frames: Sequence[int]
    values: Sequence[float | None]


def document(title: str, lead: str, sections: Sequence[str]) -> str:
    """A whole page; `lead` and `sections` are HTML, `title` is text."""
    style = read_text(_ASSETS / "style.css")
    script = read_text(_ASSETS / "sort.js")
    body = "\n".join(sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n<p class=soft>{lead}</p>\n{body}\n</main>\n"
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A part of the page below a heading; `parts` are HTML, `title` is text."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def note(text: str) -> str:
    """A paragraph of small print."""
    return f"<p class=note>{escape(text)}</p>"


def text_cell(text: str, below: str = "") -> Cell:
    """A cell with a name, and below it a softer text."""
    more = f"<span>{escape(below)}</span>" if below else ""
    return Cell(escape(text) + more, text, "name")


def number_cell(shown: str, value: float | None, error: str = "") -> Cell:
    """A cell that shows a number, and its error where there is one, and is sorted by `value`."""
    more = f"<small>± {escape(error)}</small>" if error else ""
    return Cell(escape(shown) + more, "" if value is None else repr(value), "num")


def table(
    heads: Sequence[tuple[str, str]],
    rows: Sequence[tuple[str, Sequence[Cell]]],
    *,
    sortable: bool = True,
) -> str:
    """A table that a click on a head sorts, if `sortable`.

    `heads` are (title, kind); the kind is `num` or `name`, or empty for a column that is not sorted
    by. `rows` are (class, cells).
    """
    cells = []
    for title, kind in heads:
        inner = f"<button type=button>{escape(title)}</button>" if sortable and kind else title
        cells.append(f'<th scope=col class="{kind}">{inner}</th>')
    body = []
    for row_class, row in rows:
        inner = "".join(
            f'<td class="{each.kind}" data-value="{escape(each.value)}">{each.html}</td>'
            for each in row
        )
        body.append(f'<tr class="{row_class}">{inner}</tr>')
    kind = "sortable" if sortable else ""
    return (
        f'<div class=scroll><table class="{kind}"><thead><tr>{"".join(cells)}</tr></thead>\n'
        f"<tbody>\n" + "\n".join(body) + "\n</tbody></table></div>"
    )


def picture(path: Path, what: str) -> str:
    """A JPEG that the page holds itself; nothing where the file is not there."""
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{escape(what)}" src="data:image/jpeg;base64,{data}">'


def plot(
    curves: Sequence[Curve], num_frames: int, size: tuple[int, int], *, labelled: bool = False
) -> str:
    """Cosines over a clip's frames, from 0, or the lowest one below it, to 1; red ticks are frames
    without a face. `size` is width and height in pixels."""
    width, height = size
    left, margin = (26, 6) if labelled else (2, 3)
    known = [value for curve in curves for value in curve.values if value is not None]
    low = min([0.0, *known])

    def x(frame: int) -> float:
        return left + (width - left - margin) * frame / max(1, num_frames - 1)

    def y(value: float) -> float:
        return margin + (height - 2 * margin) * (1 - value) / (1 - low)

    drawn = []
    for level in (0.0, 0.5, 1.0):
        kind = "zero" if level == 0 and low < 0 else "grid"
        drawn.append(_line(left, y(level), width - margin, y(level), kind))
        if labelled:
            drawn.append(f'<text x="0" y="{y(level) + 4:.1f}">{level:.1f}</text>')
    for curve, shade in zip(curves, SHADES, strict=False):
        drawn += _curve(curve, shade, x, y)
    missing = {
        frame
        for curve in curves
        for frame, value in zip(curve.frames, curve.values, strict=True)
        if value is None
    }
    bottom = y(low)
    drawn += [_line(x(frame), bottom - 6, x(frame), bottom, "gap") for frame in sorted(missing)]
    label = ", ".join(curve.title for curve in curves) + f" over {num_frames} frames"
    return _svg(width, height, label, drawn)


def bars(groups: Mapping[str, Sequence[int]], size: tuple[int, int]) -> str:
    """Histograms over [0, 1], each scaled to its own highest bin; in each bin their bars stand side
    by side. `groups` are title -> counts, `size` is width and height in pixels."""
    width, height = size
    bottom = height - 18
    drawn = [_line(0, bottom, width, bottom, "zero")]
    for place, (counts, shade) in enumerate(zip(groups.values(), SHADES, strict=False)):
        highest, step = max(1, *counts), width / len(counts)
        share = step / len(groups)
        for i, count in enumerate(counts):
            tall = (bottom - 4) * count / highest
            drawn.append(
                f'<rect class="{shade} fill" x="{i * step + place * share:.1f}" '
                f'y="{bottom - tall:.1f}" width="{share * 0.9:.1f}" height="{tall:.1f}"/>'
            )
    for level, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        drawn.append(
            f'<text x="{level * width:.0f}" y="{height - 4}" text-anchor="{anchor}">{level:.1f}'
            "</text>"
        )
    return _svg(width, height, " and ".join(groups), drawn)


def interval(value: float, low: float, high: float, reach: float, size: tuple[int, int]) -> str:
    """A value and its interval on a line from -reach to reach, with a tick at 0.

    `size` is width and height in pixels.
    """
    width, height = size
    middle, margin = height / 2, 6

    def x(at: float) -> float:
        return width / 2 + (width / 2 - margin) * at / (reach or 1)

    drawn = [
        _line(margin, middle, width - margin, middle, "grid"),
        _line(x(0), 4, x(0), height - 4, "zero"),
        f'<polyline class="line first" points="{x(low):.1f},{middle} {x(high):.1f},{middle}"/>',
        f'<circle class="first fill" cx="{x(value):.1f}" cy="{middle}" r="4"/>',
    ]
    return _svg(width, height, f"{value:+.3f}, from {low:+.3f} to {high:+.3f}", drawn)


def legend(titles: Sequence[str], *, gaps: bool = False) -> str:
    """Which curve has which colour, and, if `gaps`, what a red tick is."""
    keys = [
        f'<span class="key {shade}"><i></i>{escape(title)}</span>'
        for title, shade in zip(titles, SHADES, strict=False)
    ]
    if gaps:
        keys.append('<span class="key gap"><i></i>no face</span>')
    return "<p class=note>" + "".join(keys) + "</p>"


def _curve(curve: Curve, shade: str, x, y) -> list[str]:
    """Unbroken stretches of a curve as lines, and single frames between gaps as dots."""
    stretches: list[list[str]] = [[]]
    for frame, value in zip(curve.frames, curve.values, strict=True):
        if value is None:
            stretches.append([])
        else:
            stretches[-1].append(f"{x(frame):.1f},{y(value):.1f}")
    drawn = []
    for points in stretches:
        if len(points) == 1:
            at_x, at_y = points[0].split(",")
            drawn.append(f'<circle class="{shade} fill" cx="{at_x}" cy="{at_y}" r="2"/>')
        elif points:
            drawn.append(f'<polyline class="line {shade}" points="{" ".join(points)}"/>')
    return drawn


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _svg(width: int, height: int, label: str, drawn: Sequence[str]) -> str:
    return (
        f'<svg role=img aria-label="{escape(label)}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{"".join(drawn)}</svg>'
    )
