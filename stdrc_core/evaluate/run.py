"""Runs an evaluation, from pairs to reports; several processes share the clips."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..device import open_device
from .metric import Metric
from .metric_registry import COLUMNS
from .opening import check_requirements, open_metrics, settings
from .options import Options
from .pairs import Pair, read_pairs
from .report import write_report
from .results import Store, check_settings, note_settings
from .scoring import missing, score_clips
from .summary import summarise

log = logging.getLogger(__name__)

# How long a process waits for the others, one of which may have much longer clips.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Processes:
    """This process among those that share an evaluation, as accelerate or torchrun started them."""

    rank: int
    count: int
    device: torch.device
    _state: Any

    def wait(self) -> None:
        """Returns when all processes have come here."""
        self._state.wait_for_everyone()


def evaluate(options: Options) -> None:
    """Scores the clips that are not scored yet, and writes the reports to `options.out`.

    Raises ValueError for input that cannot be used, and where no clip could be scored.
    """
    needs = {key for name in options.metrics for key in COLUMNS[name].needs}
    pairs = read_pairs(options.pairs, options.videos, needs)
    store = Store(out=options.out)
    waiting = [
        pair
        for pair in pairs
        if missing(store, options.videos, pair, options.metrics, options.gallery)
    ]
    if waiting:
        check_requirements(options)
    processes = open_processes(options.device)
    if processes.rank == 0:
        log.info("%d clips, %d still to be scored", len(pairs), len(waiting))
    # The weights need not be there any more where nothing is left to be scored.
    made_with = settings(options, with_weights=bool(waiting))
    check_settings(options.out, made_with)
    processes.wait()
    with ExitStack() as stack, logging_redirect_tqdm():
        share = waiting[processes.rank :: processes.count]
        metrics = open_metrics(options, processes.device, stack) if share else {}
        if processes.rank == 0 and waiting:
            note_settings(store.out, made_with)
        _score(share, options, metrics, store, is_shown=processes.rank == 0)
    processes.wait()
    if processes.rank == 0:
        summary = summarise(store, pairs)
        write_report(options.out, summary, store)
        log.info("%s", options.out / "report.html")
        if not any(result.scores for result in summary.results):
            raise ValueError(
                f"none of the {len(pairs)} clips could be scored; {options.out / 'metrics.json'} "
                "has the reasons."
            )


def open_processes(device: str) -> Processes:
    """This process, which takes `device`, or, where there are several, a device of its own.

    Raises ValueError for an unknown device.
    """
    from accelerate import PartialState

    chosen = open_device(device)
    state = PartialState(cpu=chosen.type == "cpu", timeout=_PATIENCE)
    if state.num_processes > 1:
        chosen = state.device
    return Processes(state.process_index, state.num_processes, chosen, state)


def _score(
    share: Sequence[Pair],
    options: Options,
    metrics: Mapping[str, Metric],
    store: Store,
    *,
    is_shown: bool,
) -> None:
    step = options.clips_at_once
    with tqdm(total=len(share), unit="clip", desc="scored", disable=not is_shown) as bar:
        for start in range(0, len(share), step):
            group = share[start : start + step]
            score_clips(group, options.videos, metrics, store, options.gallery)
            bar.update(len(group))
