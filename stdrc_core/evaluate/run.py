"""An evaluation from pairs to reports; several processes share the clips."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from .metric import Metric
from .metric_registry import COLUMNS
from .options import Options
from .pairs import Pair, read_pairs
from .processes import open_processes
from .report import write_report
from .resources import Resources, check_there, open_metrics, settings
from .results import Store, check_settings, note_settings
from .scoring import missing, score_clips
from .summary import summarise

log = logging.getLogger(__name__)


def evaluate(options: Options) -> None:
    """Scores what is not scored yet, and writes the reports to `options.out`.

    Raises ValueError for input that cannot be used, and when no clip could be scored.
    """
    needs = {key for name in options.metrics for key in COLUMNS[name].needs}
    pairs = read_pairs(options.pairs, options.videos, needs)
    store = Store(out=options.out)
    waiting = [pair for pair in pairs if missing(store, options.videos, pair, options.metrics)]
    if waiting:
        check_there(options)
    processes = open_processes(options.device)
    if processes.rank == 0:
        log.info("%d clips, %d still to be scored", len(pairs), len(waiting))
    # Weights are looked at only where they are needed.
    made_with = settings(options, with_weights=bool(waiting))
    check_settings(options.out, made_with)
    processes.wait()
    with ExitStack() as stack, logging_redirect_tqdm():
        share = waiting[processes.rank :: processes.count]
        metrics = open_metrics(Resources(options, processes.device), stack) if share else {}
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
            score_clips(group, options.videos, metrics, store)
            bar.update(len(group))
