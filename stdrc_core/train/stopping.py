"""Ends a command at a place of its own choice when it gets SIGTERM or Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Stopper:
    """Notes SIGTERM and SIGINT, so that what is in work is finished and written."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, *_: object) -> None:
        """Asks for an end after the step, or the clip, that is in work."""
        self.requested = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the two signals inside the block, and gives them back to their handlers after."""
        previous = {s: signal.signal(s, self.request) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
