"""What ways to guide cost in time and what they lose: all of the same persons and noise.

All settings sample a batch of persons, one after another, before the next batch begins, and a
setting's ratio is the median over batches, so that a machine that is slower for a while is slower
for all of them. Times are the processor's, of the transformer alone and of whole clips, which the
photo and the VAE are part of.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..evaluate.tables import markdown_table
from ..generate.pipeline import Pipeline, Shot
from .judgement import MOST_LOST
from .models import SHOT
from .plots import figure_at
from .scores import BATCH_SIZE, COLUMNS, Case, draw_cases, sample_cases, score_clips
from .tables import cell, columns_of, mean_and_error, over_persons
from .workplace import Workplace

EXACT = "exact"
COMPARED = ("facesim", "caption")


@dataclass(kw_only=True)
class Times:
    """How many seconds of the processor a batch of clips took."""

    transformer_s: float = 0.0
    """In the transformer alone."""
    clip_s: float = 0.0
    """In all, with photo and VAE."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A way to guide."""

    family: str
    """What it belongs to in the plot."""
    changes: Mapping[str, Any]
    """What it changes in the guidance of the shot."""
    weights: str = EXACT
    """Which of the pipelines it samples with."""


def sample_settings(
    place: Workplace,
    makers: Mapping[str, Callable[[], Pipeline]],
    settings: Mapping[str, Setting],
    num_seeds: int,
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, list[Times]]]:
    """Samples and scores all settings: setting -> column -> scores `[seeds, persons]`, and setting
    -> the times of its batches, in one order of batches.

    `makers` open the pipelines that settings name, when they are needed first. Batches that are
    kept are not sampled again.
    """
    args = place.args
    shot = replace(SHOT, num_steps=args.guided_steps)
    cases = draw_cases(args.num_persons, args.seed + 1)
    starts = range(0, len(cases), BATCH_SIZE)
    found: dict[str, list[list[dict[str, list[float]]]]] = {name: [] for name in settings}
    times: dict[str, list[Times]] = {name: [] for name in settings}
    pipelines: dict[str, Pipeline] = {}
    for seed in range(num_seeds):
        for own in found.values():
            own.append([])
        for number, start in enumerate(starts):
            batch = cases[start : start + BATCH_SIZE]

            def measure(
                batch: Sequence[Case] = batch, seed: int = seed, start: int = start
            ) -> dict[str, Any]:
                for name in makers.keys() - pipelines.keys():
                    pipelines[name] = makers[name]()
                    # The first run of a network is slower, and must not count.
                    _sample(pipelines[name], batch[:1], replace(shot, num_steps=2), 0, 0)
                return {
                    name: _measure(place, pipelines[each.weights], batch, shot, each, seed, start)
                    for name, each in settings.items()
                }

            decisive = {
                "persons": args.num_persons,
                "persons_seed": args.seed + 1,
                "shot": dataclasses.asdict(shot),
                "settings": {name: _facts(each) for name, each in settings.items()},
            }
            kept = place.keep(f"seed_{seed}_batch_{number}", decisive, measure)
            for name in settings:
                found[name][-1].append(kept[name]["scores"])
                times[name].append(Times(**kept[name]["times"]))
    scores = {
        name: {column: _joined(own, column) for column in COLUMNS} for name, own in found.items()
    }
    return scores, times


def compare(
    scores: Mapping[str, Mapping[str, np.ndarray]],
    times: Mapping[str, Sequence[Times]],
    beside: str = EXACT,
) -> dict[str, dict[str, Any]]:
    """Setting -> its times as ratios to the setting `beside`, in pairs of one batch, and what it
    loses against that in each compared score, in pairs of one person and seed."""
    results = {}
    for name, own in scores.items():
        pairs = list(zip(times[name], times[beside], strict=True))
        result: dict[str, Any] = {
            key: statistics.median(getattr(a, field) / getattr(b, field) for a, b in pairs)
            for key, field in (("time", "transformer_s"), ("clip_time", "clip_s"))
        }
        for column in COMPARED:
            result[column] = mean_and_error(over_persons(own[column]))
            lost = scores[beside][column] - own[column]
            result[f"{column}_lost"] = mean_and_error(over_persons(lost))
        results[name] = result
    return results


def cost_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A table in Markdown: a line for each setting."""
    columns = [f"{COLUMNS[column]}{lost}" for column in COMPARED for lost in ("", ", lost")]
    head = ["", "transformer's time", "whole clip's time", *columns]
    rows = []
    for name, result in results.items():
        cells = [f"{result[key]:.2f}" for key in ("time", "clip_time")]
        for column in COMPARED:
            cells += [cell(result[key]) for key in (column, f"{column}_lost")]
        rows.append([name, *cells])
    return markdown_table(head, rows)


def plot_costs(path: Path, results: Mapping[str, Mapping[str, Any]], *, most_time: float) -> None:
    """Draws FaceSim lost over the transformer's time; each `family` of settings has a colour.

    Lines stand at the loss that is small and at `most_time`, the share of the time to reach.
    """
    with figure_at(path, 9, 5.5) as figure:
        axes = figure.subplots()
        for family in dict.fromkeys(result["family"] for result in results.values()):
            own = {name: r for name, r in results.items() if r["family"] == family}
            lost = [result["facesim_lost"]["mean"] for result in own.values()]
            errors = [result["facesim_lost"]["standard_error"] for result in own.values()]
            times = [result["time"] for result in own.values()]
            axes.errorbar(times, lost, errors, fmt="o", markersize=4, capsize=2, label=family)
            for name, x, y in zip(own, times, lost, strict=True):
                axes.annotate(name, (x, y), (4, 3), textcoords="offset points", fontsize=6)
        axes.axhline(MOST_LOST, color="grey", linestyle="--", linewidth=0.8)
        axes.axvline(most_time, color="grey", linestyle="--", linewidth=0.8)
        axes.set(xlabel="time in the transformer, of exact guidance's", ylabel="FaceSim lost")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)


def _facts(setting: Setting) -> dict[str, Any]:
    """A setting as plain values: a curve is its fields."""
    changes = {
        key: dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
        for key, value in setting.changes.items()
    }
    return {"changes": changes, "weights": setting.weights}


def _joined(by_seed: Sequence[Sequence[Mapping[str, Sequence[float | None]]]], column: str):
    """The scores of a column, `[seeds, persons]`, of batches of persons for each seed."""
    rows = [[value for batch in batches for value in batch[column]] for batches in by_seed]
    return np.array(rows, dtype=float)


def _measure(
    place: Workplace,
    pipeline: Pipeline,
    batch: Sequence[Case],
    shot: Shot,
    setting: Setting,
    seed: int,
    first: int,
) -> dict[str, Any]:
    clips, taken = _sample(pipeline, batch, shot.guided(**setting.changes), seed, first)
    scores = score_clips(clips, batch, place.faces, place.reader)
    return {"scores": columns_of(scores, COLUMNS), "times": dataclasses.asdict(taken)}


def _sample(
    pipeline: Pipeline, cases: Sequence[Case], shot: Shot, seed: int, first: int
) -> tuple[list[Tensor], Times]:
    with _timed(pipeline.backbone) as times:
        started = time.process_time()
        clips = sample_cases(pipeline, cases, shot, seed, first=first)
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
