"""Draws report.html: the paper's table with ours, each clip's curve, the best and worst clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from ..faces.drift import Drift
from .metric_registry import COLUMNS
from .page_parts import (
    Cell,
    Curve,
    bars,
    document,
    legend,
    note,
    number_cell,
    picture,
    plot,
    section,
    table,
    text_cell,
)
from .paper import ABLATION, OURS, SYSTEMS, counted, our_cells, paper_cells, told_beside
from .results import Result, Store
from .summary import Summary

# Metrics whose curves are cosines over a clip's frames.
_CURVES = ("facesim_arc", "facesim_cur", "tic")
_SPARK_PX, _PLOT_PX, _BARS_PX = (150, 36), (330, 110), (760, 150)
_NUM_SHOWN = 4


def render_page(summary: Summary, store: Store) -> str:
    """The whole page; `store` has the pictures of the clips."""
    num_broken = sum(bool(result.problems) for result in summary.results)
    lead = f"{summary.num_clips} clips, "
    lead += f"{num_broken} of them not scored by all metrics." if num_broken else "all scored."
    parts = [_table(summary), _verification(summary), *_extremes(summary, store)]
    parts += [_clips(summary), _problems(summary), _method(summary)]
    title = f"ST-DRC evaluation: {store.out.resolve().name}"
    return document(title, escape(lead), [part for part in parts if part])


def _table(summary: Summary) -> str:
    rows = []
    for group in (SYSTEMS, ABLATION):
        for i, row in enumerate(group):
            shown = paper_cells(row)
            cells = [number_cell(shown[name], getattr(row, name, None)) for name in COLUMNS]
            rows.append(
                ("break" if group is ABLATION and not i else "", [text_cell(row.system), *cells])
            )
    ours = [
        number_cell(mean, summary.metrics[name].mean if mean else None, error)
        for name, (mean, error) in our_cells(summary).items()
    ]
    rows.append(("ours", [text_cell(OURS), *ours]))
    heads = [("system", "name"), *((column.title, "num") for column in COLUMNS.values())]
    return section(
        "Beside the paper",
        note(
            "The paper's rows are on VIP-200K's test set (Chen et al., arXiv 2606.02441) and "
            "compare with ours on the same prompts and photos alone. Ours: "
            f"{counted(summary)} Higher is better, but for DD, which only tells how many clips "
            "move."
        ),
        table(heads, rows),
        *(note(sentence) for sentence in told_beside(summary)),
    )


def _verification(summary: Summary) -> str:
    found = summary.verification
    if found is None:
        return ""
    groups = {
        f"own photo, {found.num_same} pairs, mean {found.mean_same:.3f}": found.histogram_same,
        f"photos of others, {found.num_different} pairs, mean {found.mean_different:.3f}": (
            found.histogram_different
        ),
    }
    return section(
        "One person or two",
        note(
            "FaceSim-Arc of every clip with its own person's photos and with those of all others. "
            f"Area under the ROC curve: {found.auc:.4f}; 1 tells all persons apart, 0.5 none."
        ),
        f"<div class=card>{legend(list(groups))}{bars(groups, _BARS_PX)}</div>",
    )


def _extremes(summary: Summary, store: Store) -> list[str]:
    lead = next(iter(summary.metrics), None)
    if lead is None:
        return []
    scored = [result for result in summary.results if lead in result.scores]
    scored.sort(key=lambda result: result.scores[lead].value, reverse=True)
    count = min(_NUM_SHOWN, math.ceil(len(scored) / 2))
    best, worst = scored[:count], scored[count:][-count:][::-1]
    title = COLUMNS[lead].title
    names = [COLUMNS[name].title for name in _CURVES if name in summary.metrics]
    return [
        section(f"{where} {title}", legend(names, gaps=True), _cards(chosen, store))
        for where, chosen in (("Highest", best), ("Lowest", worst))
        if chosen
    ]


def _cards(results: Sequence[Result], store: Store) -> str:
    cards = []
    for result in results:
        scores = "".join(
            f"<span class=score>{escape(column.title)} "
            f"<b>{column.number(result.scores[name].value)}</b></span>"
            for name, column in COLUMNS.items()
            if name in result.scores
        )
        prompt = escape(result.asked.get("prompt") or "")
        what = f"{result.video}: its photos and frames"
        others = "" if result.others is None else result.others.sentence
        told = note(others) if others else ""
        cards.append(
            f"<div class=card><h3>{escape(result.video)}</h3><p>{prompt}</p>"
            f"<div class=row>{picture(store.strip(result.video), what)}</div>"
            f"<div class=row>{_plot(result)}{scores}</div>{told}</div>"
        )
    return f"<div class=cards>{''.join(cards)}</div>"


def _plot(result: Result) -> str:
    curves = _curves(result)
    return plot(curves, result.num_frames, _PLOT_PX, labelled=True) if curves else ""


def _clips(summary: Summary) -> str:
    measured = list(summary.metrics)
    curve = next((name for name in _CURVES if name in measured), None)
    heads = [("clip", "name"), *((COLUMNS[name].title, "num") for name in measured)]
    if curve is not None:
        heads.append((f"{COLUMNS[curve].title} over time", ""))
    has_drift = any(each.drift is not None for each in summary.results)
    if has_drift:
        heads.append(("drift over 100 frames", "num"))
    has_others = any(each.others and each.others.num_frames for each in summary.results)
    if has_others:
        heads.append(("other people", "num"))
    rows = []
    for result in summary.results:
        cells = [text_cell(result.video, result.asked.get("prompt") or "")]
        for name in measured:
            value = result.scores[name].value if name in result.scores else None
            cells.append(number_cell("" if value is None else COLUMNS[name].number(value), value))
        if curve is not None:
            drawn = [each for each in _curves(result) if each.title == COLUMNS[curve].title]
            cells.append(Cell(plot(drawn, result.num_frames, _SPARK_PX) if drawn else ""))
        if has_drift:
            cells.append(_drift_cell(result.drift))
        if has_others:
            cells.append(_others_cell(result))
        rows.append(("", cells))
    about = "Click a column's head to sort by it."
    if has_drift:
        about += (
            " Drift is the slope of the straight line of least squares through a clip's cosines, "
            "with its standard error: below 0 the face leaves the photo's as the clip goes on."
        )
    if has_others:
        about += (
            " FaceSim scores the largest face of a frame. Other people: in how many of the frames "
            "looked at more than one face was seen, and in how many of these another face was "
            "nearer to the photo than the scored one. There a low curve is no drift."
        )
    return section("Clips", note(about), table(heads, rows))


def _drift_cell(drift: Drift | None) -> Cell:
    if drift is None:
        return number_cell("", None)
    error = "" if drift.error is None else f"{drift.error:.3f}"
    return number_cell(f"{drift.slope:+.3f}", drift.slope, error)


def _others_cell(result: Result) -> Cell:
    if result.others is None:
        return number_cell("", None)
    found = result.others
    shown = f"{found.num_frames} of {found.num_looked_at}" if found.num_frames else "0"
    if found.num_nearer:
        shown += f", nearer in {found.num_nearer}"
    return number_cell(shown, found.num_frames)


def _curves(result: Result) -> list[Curve]:
    return [
        Curve(COLUMNS[name].title, result.scores[name].frames, result.scores[name].curve)
        for name in _CURVES
        if name in result.scores
    ]


def _problems(summary: Summary) -> str:
    # Metrics may share a problem of one video, and videos may share one of one metric.
    titles: dict[tuple[str, str], list[str]] = {}
    for result in summary.results:
        for name, problem in result.problems.items():
            titles.setdefault((result.video, problem), []).append(COLUMNS[name].title)
    videos: dict[tuple[str, str], list[str]] = {}
    for (video, problem), names in titles.items():
        videos.setdefault((", ".join(names), problem), []).append(video)
    lines = [
        f"<li><b>{escape(names)}</b> of {escape(', '.join(found))}: {escape(problem)}</li>"
        for (names, problem), found in videos.items()
    ]
    return section("Not scored", f"<ul class=plain>{''.join(lines)}</ul>") if lines else ""


def _method(summary: Summary) -> str:
    heads = [("metric", ""), ("what it is", ""), ("made with", "")]
    rows = []
    for name in summary.metrics:
        own = summary.settings.get(name, {})
        lines = [f"{title} {digest[:16]}" for title, digest in own.get("weights", {}).items()]
        lines += [f"frames {own['frames']}"] if "frames" in own else []
        made = "".join(f"<div><code>{escape(line)}</code></div>" for line in lines)
        column = COLUMNS[name]
        rows.append(("", [text_cell(column.title), Cell(escape(column.about)), Cell(made)]))
    return section(
        "How it was measured",
        note(
            "Weights go by the beginning of their SHA-256; frames is how many of a clip are looked "
            "at, where 0 is all of them."
        ),
        table(heads, rows, sortable=False),
    )
