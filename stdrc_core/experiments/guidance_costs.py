"""`python -m stdrc_core.experiments guidance`: what guidance over time saves, and what it costs.

The same unseen persons are sampled with each setting and with exact guidance. It writes

    guidance.json   each setting's time as a ratio to exact guidance, and its paired differences
    guidance.md     the same as a table, mean ± standard error over persons
    guidance.png    FaceSim lost over time saved

All settings sample a batch of persons, one after another, before the next batch begins, and a
setting's ratio is the median over batches, so that a machine that is slower for a while is slower
for all of them. Times are the processor's, of the transformer alone and of whole clips, which the
photo and the VAE are part of. With `--distilled` a student of the same weights is measured too,
from the same noise, in one pass a step.
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..evaluate.tables import markdown_table
from ..faces.caching_finder import CachingFinder
from ..faces.finder import open_face_pack
from ..files import write_json, write_text, written_aside
from ..generate.pipeline import Pipeline, Shot
from ..method.guidance_curve import GuidanceCurve
from ..method.guidance_options import PRESETS
from .models import (
    REFERENCE_SCALE,
    SHOT,
    TEXT_SCALE,
    open_pipeline,
    open_reader,
    open_student,
)
from .scores import BATCH_SIZE, COLUMNS, Case, Score, draw_cases, sample_cases, score_clips
from .tables import by_person, cell, mean_and_error

log = logging.getLogger(__name__)

_COMPARED = ("facesim", "caption")
_DISTILLED = "distilled"


@dataclass(kw_only=True)
class Times:
    """How many seconds of the processor a batch of clips took."""

    transformer_s: float = 0.0
    """In the transformer alone."""
    clip_s: float = 0.0
    """In all, with photo and VAE."""


def _settings() -> dict[str, dict[str, dict[str, Any]]]:
    """Family of settings -> setting -> what it changes in the shot."""
    curves = {
        "s_r rising, 2 to 6": {"reference_scale": GuidanceCurve(start=2, end=6)},
        "s_r falling, 6 to 2": {"reference_scale": GuidanceCurve(start=6, end=2)},
        "both falling to 1": {
            "text_scale": GuidanceCurve(start=2 * TEXT_SCALE - 1, end=1),
            "reference_scale": GuidanceCurve(start=2 * REFERENCE_SCALE - 1, end=1),
        },
    }
    return {
        "reference_every": {f"every {k}": {"reference_every": k} for k in range(2, 9)},
        "guided_share": {f"share {s:g}": {"guided_share": s} for s in (0.2, 0.35, 0.5, 0.65, 0.8)},
        "window": {
            f"separate {start:g} to {end:g}": {"start_percent": start, "end_percent": end}
            for start, end in ((0, 0.2), (0, 0.5), (0, 0.8), (0.2, 1), (0.5, 1))
        },
        "curves": curves,
        "both": {
            f"every {k}, share {share:g}": {"reference_every": k, "guided_share": share}
            for share in (0.35, 0.5, 0.65)
            for k in (2, 3, 4)
        },
        "presets": {name: dict(preset) for name, preset in PRESETS.items() if name != "exact"},
    }


def main(args: argparse.Namespace) -> None:
    """Samples and scores all settings, and writes table and plot."""
    if args.num_persons < 2:
        raise ValueError(f"num-persons was {args.num_persons}; needs 2 or more.")
    if args.num_seeds < 1:
        raise ValueError(f"num-seeds was {args.num_seeds}; needs 1 or more.")
    settings = _settings()
    pipelines = {None: open_pipeline(args.checkpoint)}
    if args.distilled is not None:
        pipelines[_DISTILLED] = open_student(args.checkpoint, args.distilled)
        settings[_DISTILLED] = {_DISTILLED: dict(PRESETS["one-pass"])}
    flat = _chosen(settings, args.only)
    args.out.mkdir(parents=True, exist_ok=True)
    shot = replace(SHOT, num_steps=args.steps)
    cases = draw_cases(args.num_persons, args.persons_seed)
    finder = CachingFinder(open_face_pack(args.faces))
    reader = open_reader(args.reader or args.out / "reader.pt", args.persons_seed)
    by_seed: dict[str, list[list[Score]]] = {name: [] for name in flat}
    times: dict[str, list[Times]] = {name: [] for name in flat}
    # The first run of a network is slower, and must not count.
    for pipeline in pipelines.values():
        _sample(pipeline, cases[:1], shot, 0)
    num_batches = math.ceil(len(cases) / BATCH_SIZE)
    for seed in range(args.num_seeds):
        for own in by_seed.values():
            own.append([])
        for number, start in enumerate(range(0, len(cases), BATCH_SIZE)):
            batch = cases[start : start + BATCH_SIZE]
            for name, changes in flat.items():
                pipeline = pipelines.get(name, pipelines[None])
                noise = seed * num_batches + number
                clips, taken = _sample(pipeline, batch, shot.guided(**changes), noise)
                times[name].append(taken)
                by_seed[name][-1] += score_clips(clips, batch, finder, reader)
                log.info("seed %d, batch %d: %s", seed, number, name)
    scores = {name: _over_seeds(own) for name, own in by_seed.items()}
    results = compare(scores, times)
    for name, result in results.items():
        result["family"] = next((f for f, own in settings.items() if name in own), "exact")
    write_json(args.out / "guidance.json", results)
    write_text(args.out / "guidance.md", table(results))
    plot(args.out / "guidance.png", results)
    log.info("%s", table(results))


def _chosen(
    settings: Mapping[str, Mapping[str, dict[str, Any]]], only: Sequence[str] | None
) -> dict[str, dict[str, Any]]:
    """Setting -> what it changes, of the settings named in `only`, with exact guidance first."""
    flat = {"exact": {}} | {name: c for family in settings.values() for name, c in family.items()}
    if only is None:
        return flat
    if unknown := [name for name in only if name not in flat]:
        raise ValueError(f"only was {unknown[0]!r}; needs one of {', '.join(flat)}.")
    return {name: changes for name, changes in flat.items() if name in ("exact", *only)}


def _over_seeds(by_seed: Sequence[Sequence[Score]]) -> list[Score]:
    """Each person's scores as their means over seeds."""
    means = {name: by_person(by_seed, name) for name in COLUMNS}
    return [
        Score(**{name: float(values[i]) for name, values in means.items()})
        for i in range(len(by_seed[0]))
    ]


def compare(
    scores: Mapping[str, Sequence[Score]], times: Mapping[str, Sequence[Times]]
) -> dict[str, dict[str, Any]]:
    """Setting -> its times as ratios to `exact`, in pairs of one batch, and what it loses in each
    compared score, in pairs of one person."""
    results = {}
    for name, own in scores.items():
        pairs = list(zip(times[name], times["exact"], strict=True))
        result: dict[str, Any] = {
            key: statistics.median(getattr(a, field) / getattr(b, field) for a, b in pairs)
            for key, field in (("time", "transformer_s"), ("clip_time", "clip_s"))
        }
        for column in _COMPARED:
            mine, exact = (by_person([each], column) for each in (own, scores["exact"]))
            result[column] = mean_and_error(mine)
            result[f"{column}_lost"] = mean_and_error(exact - mine)
        results[name] = result
    return results


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A table in Markdown: a line for each setting."""
    columns = [f"{COLUMNS[column]}{lost}" for column in _COMPARED for lost in ("", ", lost")]
    head = ["", "time", "whole clip's time", *columns]
    rows = []
    for name, result in results.items():
        cells = [f"{result[key]:.2f}" for key in ("time", "clip_time")]
        for column in _COMPARED:
            cells += [cell(result[key]) for key in (column, f"{column}_lost")]
        rows.append([name, *cells])
    return markdown_table(head, rows)


def plot(path: Path, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws FaceSim lost over the transformer's time; each family of settings has a colour."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for family in dict.fromkeys(result["family"] for result in results.values()):
        own = {name: r for name, r in results.items() if r["family"] == family}
        lost = [result["facesim_lost"]["mean"] for result in own.values()]
        errors = [result["facesim_lost"]["standard_error"] for result in own.values()]
        times = [result["time"] for result in own.values()]
        axes.errorbar(times, lost, errors, fmt="o", markersize=4, capsize=2, label=family)
        for name, x, y in zip(own, times, lost, strict=True):
            axes.annotate(name, (x, y), (4, 3), textcoords="offset points", fontsize=6)
    axes.axhline(0.01, color="grey", linestyle="--", linewidth=0.8)
    axes.axvline(0.6, color="grey", linestyle="--", linewidth=0.8)
    axes.set(xlabel="time in the transformer, of exact guidance's", ylabel="FaceSim lost")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    with written_aside(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def _sample(
    pipeline: Pipeline, cases: Sequence[Case], shot: Shot, seed: int
) -> tuple[list[Tensor], Times]:
    with _timed(pipeline.backbone) as times:
        started = time.process_time()
        clips = sample_cases(pipeline, cases, shot, seed)
        times.clip_s = time.process_time() - started
    return clips, times


@contextmanager
def _timed(backbone: nn.Module) -> Iterator[Times]:
    """Measures the time in the backbone meanwhile, with hooks that are removed afterwards."""
    times = Times()

    def begin(*_: Any) -> None:
        times.transformer_s -= time.process_time()

    def end(*_: Any) -> None:
        times.transformer_s += time.process_time()

    hooks = [backbone.register_forward_pre_hook(begin), backbone.register_forward_hook(end)]
    try:
        yield times
    finally:
        for hook in hooks:
            hook.remove()
