"""Work done ahead of its turn: in order, overlapping, bounded, and over when it is closed."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from stdrc_core.train.ahead import ahead


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_results_are_those_of_map_in_their_order(depth: int):
    names = set()

    def square(number: int) -> int:
        names.add(threading.current_thread().name)
        return number**2

    assert list(ahead(square, range(20), depth, "squares")) == [n**2 for n in range(20)]
    assert {name.startswith("squares") for name in names} == {depth > 0}


def test_stages_in_a_row_overlap():
    """The second stage ends its first item only when the first has begun another one."""
    begun = threading.Event()

    def first(number: int) -> int:
        if number == 1:
            begun.set()
        return number

    def second(number: int) -> int:
        assert begun.wait(timeout=30)
        return number

    assert list(ahead(second, ahead(first, range(3), 1, "first"), 1, "second")) == [0, 1, 2]


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_is_begun_than_the_depth(depth: int):
    taken: list[int] = []
    items = (taken.append(n) or n for n in range(100))
    with closing(ahead(lambda n: n, items, depth, "bounded")) as made:
        for done, _ in zip(range(1, 20), made, strict=False):
            assert len(taken) == done + depth


def test_an_error_comes_at_its_turn():
    def fail(number: int) -> int:
        if number == 2:
            raise ValueError("the third")
        return number

    made = ahead(fail, range(9), 4, "failing")
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(made)
    assert list(made) == []


def test_closing_the_last_stage_ends_all_of_them():
    before = threading.active_count()
    stages = ahead(str, ahead(abs, range(99), 2, "first"), 2, "second")
    assert next(stages) == "0"
    assert threading.active_count() == before + 2
    stages.close()
    assert threading.active_count() == before
