"""Draws compare.html: differences with their intervals, and the clips that differ most."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ..pages.page_parts import (
    Cell,
    Curve,
    document,
    interval,
    legend,
    note,
    number_cell,
    picture,
    plot,
    section,
    table,
    text_cell,
)
from .comparison import Comparison
from .metric_registry import COLUMNS
from .results import Result, Store

_PLOT_PX, _INTERVAL_PX = (330, 110), (240, 26)
_NUM_SHOWN = 3


def render_comparison(
    comparison: Comparison,
    words: str,
    pairs: Sequence[tuple[Result, Result]],
    folders: tuple[Path, Path],
) -> str:
    """The whole page.

    `words` says what clips the numbers are of, `pairs` are the results of the clips that both
    evaluations have, and `folders` are those of A and B.
    """
    lead = next(iter(comparison.metrics))
    stores = tuple(Store(out=folder) for folder in folders)
    parts = [
        _table(comparison, words),
        *_extremes(comparison, pairs, lead, stores),
        _clips(comparison, pairs),
    ]
    title = f"{comparison.b} against {comparison.a}"
    names = f"A is {comparison.a}, B is {comparison.b}; a difference above 0 is B's."
    return document(title, escape(names), parts)


def _table(comparison: Comparison, words: str) -> str:
    heads = [
        ("metric", "name"),
        ("A", "num"),
        ("B", "num"),
        ("B - A", "num"),
        ("95 % interval", "num"),
        ("", ""),
        ("B higher", "num"),
    ]
    rows = []
    for name, found in comparison.metrics.items():
        decimals = COLUMNS[name].decimals
        low, high = (f"{value:+.{decimals}f}" for value in (found.low, found.high))
        difference = f"{found.difference:+.{decimals}f}"
        reach = max(abs(found.low), abs(found.high), abs(found.difference))
        cells = [
            text_cell(COLUMNS[name].title, COLUMNS[name].about),
            number_cell(COLUMNS[name].number(found.mean_a), found.mean_a),
            number_cell(COLUMNS[name].number(found.mean_b), found.mean_b),
            number_cell(difference, found.difference),
            number_cell(f"{low} to {high}", found.high - found.low),
            Cell(interval(found.difference, found.low, found.high, reach, _INTERVAL_PX)),
            number_cell(f"{found.share_b_higher:.0%}", found.share_b_higher),
        ]
        rows.append(("ours" if found.is_certain else "", cells))
    said = [f"Left out: {reason}." for reason in comparison.left_out.values()]
    return section("Differences", note(" ".join([words, *said])), table(heads, rows))


def _extremes(
    comparison: Comparison,
    pairs: Sequence[tuple[Result, Result]],
    lead: str,
    stores: tuple[Store, Store],
) -> list[str]:
    both = [pair for pair in pairs if all(lead in result.scores for result in pair)]
    both.sort(key=lambda pair: _difference(pair, lead), reverse=True)
    gains = [pair for pair in both if _difference(pair, lead) > 0][:_NUM_SHOWN]
    losses = [pair for pair in both if _difference(pair, lead) < 0][-_NUM_SHOWN:][::-1]
    title = COLUMNS[lead].title
    names = [f"A: {comparison.a}", f"B: {comparison.b}"]
    return [
        section(f"{where}: {title}", legend(names, gaps=True), _cards(chosen, lead, stores))
        for where, chosen in (("Where B gains most", gains), ("Where B loses most", losses))
        if chosen
    ]


def _cards(pairs: Sequence[tuple[Result, Result]], lead: str, stores: tuple[Store, Store]) -> str:
    cards, column = [], COLUMNS[lead]
    for pair in pairs:
        strips = "".join(
            f"<div class=row>{picture(store.strip(result.video), f'{letter}: {result.video}')}"
            f"<span class=score>{letter} <b>{column.number(result.scores[lead].value)}</b></span>"
            "</div>"
            for letter, result, store in zip("AB", pair, stores, strict=True)
        )
        curves = [
            Curve(letter, result.scores[lead].frames, result.scores[lead].curve)
            for letter, result in zip("AB", pair, strict=True)
            if result.scores[lead].curve
        ]
        num_frames = max(result.num_frames for result in pair)
        drawn = plot(curves, num_frames, _PLOT_PX, labelled=True) if curves else ""
        prompt = escape(pair[0].asked.get("prompt") or "")
        cards.append(
            f"<div class=card><h3>{escape(pair[0].video)}</h3><p>{prompt}</p>{strips}"
            f"<div class=row>{drawn}</div></div>"
        )
    return f"<div class=cards>{''.join(cards)}</div>"


def _clips(comparison: Comparison, pairs: Sequence[tuple[Result, Result]]) -> str:
    heads = [("clip", "name")]
    for name in comparison.metrics:
        title = COLUMNS[name].title
        heads += [(f"{title} A", "num"), (f"{title} B", "num"), ("B - A", "num")]
    rows = []
    for pair in pairs:
        cells = [text_cell(pair[0].video, pair[0].asked.get("prompt") or "")]
        for name in comparison.metrics:
            values = [r.scores[name].value if name in r.scores else None for r in pair]
            cells += [number_cell("" if v is None else COLUMNS[name].number(v), v) for v in values]
            known = None not in values
            difference = _difference(pair, name) if known else None
            shown = f"{difference:+.{COLUMNS[name].decimals}f}" if known else ""
            cells.append(number_cell(shown, difference))
        rows.append(("", cells))
    return section("Clips", note("Click a column's head to sort by it."), table(heads, rows))


def _difference(pair: tuple[Result, Result], metric: str) -> float:
    a, b = pair
    return b.scores[metric].value - a.scores[metric].value
