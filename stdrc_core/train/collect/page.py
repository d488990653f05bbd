"""Draws report.html: the persons with their clips and references, and why others were left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ...pages.page_parts import (
    Cell,
    bars,
    document,
    note,
    number_cell,
    section,
    table,
    text_cell,
)
from ...text_files import read_text
from .by_hand import EXCLUDE
from .left_out import LeftOut, Reason
from .options import CollectConfig
from .plan import Plan, PlannedClip

PAGE = "report.html"
_ASSETS = Path(__file__).parent / "assets"
_BARS_PX = (480, 150)
_NUM_BINS = 36
# The most lines of one reason that the page shows; report.jsonl has them all.
_MOST_LINES = 40


@dataclass(frozen=True, kw_only=True)
class ShownClip:
    """A clip on the page."""

    clip: PlannedClip
    made: Mapping[str, Any]
    caption: str
    is_in: bool
    """Whether the clip is in the data set, and was not taken out by hand."""


def render_page(
    clips: Sequence[ShownClip],
    left_out: Sequence[LeftOut],
    names: Mapping[str, str],
    plan: Plan,
    config: CollectConfig,
) -> str:
    """The whole page."""
    own = [each for each in clips if each.is_in]
    by_person: dict[str, list[ShownClip]] = {}
    for each in clips:
        by_person.setdefault(" and ".join(each.clip.persons), []).append(each)
    order = sorted(by_person, key=lambda person: (-len(by_person[person]), person))
    num_persons = len({person for each in own for person in each.clip.persons})
    length_s = sum(each.clip.window.end_s - each.clip.window.start_s for each in own)
    lead = (
        f"{len(own)} clips of {num_persons} persons, {length_s / 60:.1f} minutes. Each strip "
        "shows the references, a grey bar, and four frames of the clip. Untick what is wrong, "
        "save, and give the same command again. Two groups of faces are one person from a mean "
        f"cosine of {plan.same_person:.2f} on. The page and its pictures are on this machine alone."
    )
    style = f"<style>\n{read_text(_ASSETS / 'collect.css')}</style>"
    script = f"<script>\n{read_text(_ASSETS / 'collect.js')}</script>"
    parts = [
        style,
        _save_bar(),
        section("Persons", *(_person(person, by_person[person], names) for person in order)),
        _left_out(left_out),
        _histograms(own, config),
        script,
    ]
    return document("Collected clips", escape(lead), parts)


def _save_bar() -> str:
    return (
        "<div id=savebar><button type=button id=save>Save "
        f"{EXCLUDE}</button> <span id=told class=soft></span>"
        "<nav><a href=#left-out>Left out</a> <a href=#faces>Faces</a></nav></div>"
    )


def _person(person: str, clips: Sequence[ShownClip], names: Mapping[str, str]) -> str:
    num_in = sum(each.is_in for each in clips)
    ids = clips[0].clip.persons
    # Where several persons share a clip, a tick is the clip's.
    box = (
        f'<label><input type=checkbox data-name="{escape(ids[0])}" class=person checked> '
        f"{escape(person)}</label>"
        if len(ids) == 1
        else escape(person)
    )
    figures = "\n".join(_figure(each, names) for each in clips)
    return (
        f'<div class="card person"><h3>{box}<span class=soft> {num_in} clips</span></h3>\n'
        f"<div class=strips>\n{figures}\n</div></div>"
    )


def _figure(each: ShownClip, names: Mapping[str, str]) -> str:
    window, made = each.clip.window, each.made
    width, height = made["strip_px"]
    start = window.start_s
    what = f"{names.get(window.footage, window.footage)}, {int(start // 60)}:{start % 60:05.2f}"
    faces = [float(track.face_px[window.faces(track)].median()) for track in window.tracks]
    size = " and ".join(f"{face:.0f}" for face in faces)
    cut = "copied as it was" if made["copied"] else "encoded anew"
    checked = " checked" if each.is_in else ""
    told = f"<span>{escape(each.caption)}</span>" if each.caption else ""
    return (
        f'<figure><label><input type=checkbox data-name="{escape(made["video"])}"{checked}>'
        f"<span>{escape(what)}</span></label>"
        f'<a href="{escape(made["video"])}"><img loading=lazy width={width} height={height} '
        f'alt="references and frames of {escape(made["video"])}" src="{escape(made["strip"])}"></a>'
        f"<figcaption>face {size} px, {cut}{told}</figcaption></figure>"
    )


def _left_out(left_out: Sequence[LeftOut]) -> str:
    counts = Counter(each.reason for each in left_out)
    rows = []
    for reason in Reason:
        if not counts[reason]:
            continue
        own = [each for each in left_out if each.reason is reason]
        lines = "".join(f"<li>{escape(_told(each))}</li>" for each in own[:_MOST_LINES])
        more = len(own) - _MOST_LINES
        lines += f"<li>and {more} more in report.jsonl</li>" if more > 0 else ""
        inner = (
            f"<details><summary>{escape(reason)}</summary><ul class=plain>{lines}</ul></details>"
        )
        known = [each.end_s - each.start_s for each in own if each.end_s is not None]
        minutes = sum(known) / 60
        rows.append(
            (
                "",
                [
                    Cell(inner, reason, "name"),
                    number_cell(str(counts[reason]), counts[reason]),
                    number_cell(f"{minutes:.1f}" if known else "", minutes if known else None),
                ],
            )
        )
    heads = [("reason", "name"), ("how many", "num"), ("minutes", "num")]
    if not rows:
        rows = [("", [text_cell("nothing"), number_cell("0", 0), number_cell("", None)])]
    return f"<div id=left-out>{section('Left out', table(heads, rows))}</div>"


def _told(each: LeftOut) -> str:
    where = each.file
    if each.start_s is not None:
        where += f", {each.start_s:.2f} to {each.end_s:.2f} s"
    return f"{where}: {each.detail}"


def _histograms(clips: Sequence[ShownClip], config: CollectConfig) -> str:
    yaws, sizes = [], []
    for each in clips:
        window = each.clip.window
        for track in window.tracks:
            faces = window.faces(track)
            yaws += [track.looks[i].yaw_deg for i in faces]
            sizes += track.face_px[faces].tolist()
    if not yaws:
        return ""
    most_px = max(2 * config.min_face_px, float(np.quantile(sizes, 0.99)))
    shown = [
        ("Yaw of the faces, degrees", yaws, (-90.0, 90.0)),
        ("Size of the faces, pixels", sizes, (0.0, most_px)),
    ]
    cards = []
    for title, values, (low, high) in shown:
        counts = np.histogram(np.clip(values, low, high), _NUM_BINS, (low, high))[0].tolist()
        ticks = [f"{low + share * (high - low):.0f}" for share in (0, 0.5, 1)]
        drawn = bars({title: counts}, _BARS_PX, ticks=ticks)
        cards.append(f"<div class=card><p>{escape(title)}</p>{drawn}</div>")
    found = note("Of all faces that were searched in the clips.")
    shown_cards = f"<div class=cards>{''.join(cards)}</div>"
    return f"<div id=faces>{section('Faces', found, shown_cards)}</div>"
