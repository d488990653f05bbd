"""Works on several things at a time, in threads, until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from ..stopping import Stopper

T = TypeVar("T")


def side_by_side(
    work: Callable[[T], object], items: Iterable[T], jobs: int, stopper: Stopper
) -> Iterator[T]:
    """Yields each item when `work(item)` is done; `jobs` of them are in work at a time.

    After `stopper` is asked to stop, no new one is begun. An exception of `work` comes up once the
    others that are in work are done.
    """
    running: dict[Future[object], T] = {}
    waiting = iter(items)
    with ThreadPoolExecutor(jobs, thread_name_prefix="collect") as pool:
        while True:
            while len(running) < jobs and not stopper.requested:
                item = next(waiting, None)
                if item is None:
                    break
                running[pool.submit(work, item)] = item
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                item = running.pop(future)
                future.result()
                yield item
