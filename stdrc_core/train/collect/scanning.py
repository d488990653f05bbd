"""Scans videos, several at a time, and keeps what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from tqdm import tqdm

from ...faces.finder import FaceFinder
from ...video import probe
from ..stopping import Stopper
from .footage import Footage
from .options import CollectConfig
from .scan import StoppedError, scan
from .scan_store import ScanStore
from .side_by_side import side_by_side


def scan_videos(
    videos: Sequence[Footage],
    scans: ScanStore,
    finder: FaceFinder,
    config: CollectConfig,
    stopper: Stopper,
) -> None:
    """Scans each of the videos into `scans`, or keeps there why it could not be.

    After `stopper` is asked to stop, what is not scanned to its end is left for another run.
    """
    lock = Lock()
    # The bar counts seconds of footage, so that its estimate holds for files of any length.
    total = round(sum(_length_s(each.path) for each in videos))
    with tqdm(total=total, unit="s", desc=f"scan {config.rank}", disable=not videos) as bar:

        def work(each: Footage) -> None:
            reached = 0.0

            def moved_to(second: float) -> None:
                nonlocal reached
                if stopper.requested:
                    raise StoppedError
                with lock:
                    bar.update(round(second) - round(reached))
                reached = second

            try:
                found = scan(
                    each.path,
                    finder,
                    shot_threshold=config.shot_threshold,
                    sample_fps=config.sample_fps,
                    moved_to=moved_to,
                )
            except StoppedError:
                return
            except ValueError as error:
                scans.write_problem(each.key, str(error))
            except Exception as error:
                error.add_note(f"while scanning {each.path}")
                raise
            else:
                scans.write(each.key, found)

        for _ in side_by_side(work, videos, config.jobs, stopper):
            pass


def _length_s(path: Path) -> float:
    """The length of a video in seconds; 0 where it cannot be read, which its scan will report."""
    try:
        return probe(path).duration_s
    except ValueError:
        return 0.0
