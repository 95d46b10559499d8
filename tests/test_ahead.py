import itertools
import threading
import time

import pytest

from derain_video.pipeline.ahead import ahead


def alive() -> int:
    return sum(thread.name == "derain-ahead" for thread in threading.enumerate())


def test_same_items_in_order():
    assert list(ahead(iter(range(100)), 3)) == list(range(100))


def test_runs_ahead_but_no_further_than_told():
    made = []
    items = ahead((made.append(i) or i for i in itertools.count()), 3)
    next(items)
    time.sleep(0.2)
    assert len(made) == 1 + 3 + 1  # taken, queued, and one that waits for room
    items.close()
    assert not alive()


def test_an_error_comes_after_the_items_before_it():
    def failing():
        yield 1
        yield 2
        raise OSError("gone")

    items = ahead(failing(), 5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="gone"):
        next(items)
    assert not alive()


def test_closing_closes_what_it_reads():
    closed = []

    def items():
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    chained = ahead(iter(ahead(items(), 2)), 2)
    next(chained)
    chained.close()
    assert closed == [True] and not alive()
