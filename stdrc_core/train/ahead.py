"""Does work before its turn, in a thread, in order and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(
    make: Callable[[T], R], items: Iterable[T], depth: int, name: str
) -> Generator[R, None, None]:
    """`make(item)` of each item in order, made by one thread, called `name`, ahead of its turn.

    `depth` items at most wait done or are in the thread beyond the one that is asked for; with 0
    there is no thread and all is as `map` does it. Stages that overlap are several of these in a
    row, each with the one before as its items. An exception of `make` comes up at its item's turn.
    Closing the generator, which also closes `items` where these can be closed, waits for what the
    thread is in and drops the rest.
    """
    if depth == 0:
        yield from map(make, items)
        return
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        if isinstance(items, Generator):
            items.close()
